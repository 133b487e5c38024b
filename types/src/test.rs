//! Tests and how they went.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A test of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TestId {
    /// The binary that has it, relative to the payload.
    pub binary: String,
    /// Its name, as its binary lists it.
    pub name: String,
}

impl fmt::Display for TestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// How a test went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It ran, and its harness reported success; a program that runs whole exited with 0.
    Passed,
    /// It passed on a fresh machine, after an earlier run that did not.
    Flaky,
    /// It ran and failed.
    Failed,
    /// It did not end within its time limit.
    TimedOut,
    /// It, or the kernel under it, died.
    Crashed,
    /// It left something in the kernel: a program, a map, a process, a changed setting.
    Leaked,
    /// It is marked as ignored in its source, and was not run.
    Ignored,
    /// The kernel lacks what it needs: decided from the kernel's features before it could run, or by a program that exited
    /// with 77; never from another failure.
    Unsupported,
}

impl Outcome {
    /// Whether it fails nothing.
    pub const fn is_fine(self) -> bool {
        matches!(self, Self::Passed | Self::Flaky) || !self.has_run()
    }

    /// Whether the test was run at all, as far as there is a result.
    pub const fn has_run(self) -> bool {
        !matches!(self, Self::Ignored | Self::Unsupported)
    }
}

/// A run of a test that did not pass and was repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Attempt {
    /// How it went.
    pub outcome: Outcome,
    /// From the start of its process to its end.
    pub seconds: f64,
    /// Why it did not pass.
    pub message: Option<String>,
}
