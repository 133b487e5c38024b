//! Exit codes and what they mean.

use std::process::ExitCode;

use crate::build::Refused;

/// Exit code of a run that was interrupted.
pub(crate) const INTERRUPTED: u8 = 130;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Success,
    /// A test failed, or a check found fault.
    TestsFailed,
    /// What the user gave to be packaged cannot be.
    Refused,
    /// The command line is wrong. clap uses the same code.
    Usage,
    /// The lab could not do its job: a kernel that cannot be had, QEMU missing, a guest that never came up.
    Lab,
    /// The user interrupted the run (128 + SIGINT, as shells have it).
    Interrupted,
}

/// The command line is wrong in a way that only shows once it is carried out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// The user interrupted the run.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

impl Exit {
    /// Prints `error` for a person, and says with which code to exit.
    pub(crate) fn from_error(error: &anyhow::Error) -> Self {
        if error.is::<Interrupted>() {
            err!("{}", console::style("interrupted").yellow().for_stderr());
            return Self::Interrupted;
        }
        err!("{} {error:#}", console::style("error:").red().bold().for_stderr());
        match () {
            () if error.is::<UsageError>() => Self::Usage,
            () if error.is::<Refused>() => Self::Refused,
            () => Self::Lab,
        }
    }
}

/// The number for the shell.
pub(crate) fn code(exit: Exit) -> ExitCode {
    ExitCode::from(match exit {
        Exit::Success => 0,
        Exit::TestsFailed | Exit::Refused => 1,
        Exit::Usage => 2,
        Exit::Lab => 3,
        Exit::Interrupted => INTERRUPTED,
    })
}
