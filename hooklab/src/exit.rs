//! Exit codes and what they mean.

use std::path::PathBuf;
use std::process::ExitCode;

use hooklab_types::report::{KernelOutcome, Report};

/// Exit code of a run that was interrupted.
pub const INTERRUPTED: u8 = 130;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Success,
    /// A test failed, or a check found a difference.
    TestsFailed,
    /// The command line is wrong. clap uses the same code.
    Usage,
    /// The lab could not do its job: no such kernel, QEMU missing, a guest that never came up.
    Lab,
    /// The user interrupted the run (128 + SIGINT, as shells have it).
    Interrupted,
}

/// The command line is wrong in a way that only shows once it is carried out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// The program at fault, not the lab: clang or the packager has said why.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} {}: see above", source_file.display())]
pub struct Refused {
    /// What failed: to compile, or to package.
    pub doing: &'static str,
    /// The source.
    pub source_file: PathBuf,
}

/// The program at fault: no kernel could load it.
#[derive(Debug, thiserror::Error)]
#[error("failed to use {}: {why}", path.display())]
pub struct BadProgram {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// The user's own build failed; cargo has said why.
#[derive(Debug, thiserror::Error)]
#[error("failed to build the tests: see above")]
pub struct BuildFailed;

/// The user interrupted the run.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

impl Exit {
    /// How a command with these results ends: an error of the lab's wins over a failed test.
    pub fn of(report: &Report) -> Self {
        let any = |outcome| report.kernels.iter().any(|kernel| kernel.outcome == outcome);
        match () {
            () if report.kernels.is_empty() || any(KernelOutcome::Error) => Self::Lab,
            () if any(KernelOutcome::Failed) => Self::TestsFailed,
            () => Self::Success,
        }
    }

    /// Prints `error` for a person, and says with which code to exit.
    pub fn from_error(error: &anyhow::Error) -> Self {
        if error.is::<Interrupted>() {
            err!("{}", console::style("interrupted").yellow().for_stderr());
            return Self::Interrupted;
        }
        err!("{} {error:#}", console::style("error:").red().bold().for_stderr());
        match () {
            () if error.is::<UsageError>() => Self::Usage,
            () if error.is::<Refused>() || error.is::<BadProgram>() || error.is::<BuildFailed>() => {
                Self::TestsFailed
            }
            () => Self::Lab,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::TestsFailed => 1,
            Exit::Usage => 2,
            Exit::Lab => 3,
            Exit::Interrupted => INTERRUPTED,
        })
    }
}
