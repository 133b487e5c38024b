//! What the helper of `hooklab run` gets in a guest, and what it answers.

use serde::{Deserialize, Serialize};

use crate::loader::{Attached, LoaderKind};

/// Name of the environment variable with the [`Job`], as JSON.
pub const JOB_VARIABLE: &str = "HOOKLAB_DEMO_JOB";

/// The one test that the helper has, by libtest's convention.
pub const TEST: &str = "show";

/// Directory of the payload for the [`Shown`], in a file of its own.
pub const DIRECTORY: &str = "shown";

/// What the helper is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Who loads.
    pub loader: LoaderKind,
    /// The program's file name in the payload's `objects/`.
    pub program: String,
    /// What to set `pid_filter` to.
    pub filter: Option<Filter>,
}

/// Whose calls the program is to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// Those of this thread group.
    Pid(i32),
    /// Those of the first of the two processes that write.
    Writer,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The loader's exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it attached, if it did.
    pub attached: Option<Attached>,
    /// The processes that wrote.
    pub actors: Vec<Actor>,
    /// What the kernel printed, as `trace_pipe` has it.
    pub trace: String,
    /// What the loader said on standard error.
    pub error: String,
}

/// A process that wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Its PID.
    pub pid: u32,
    /// How often it called `write()`.
    pub writes: u32,
}
