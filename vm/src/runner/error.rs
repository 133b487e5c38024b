//! Why a machine cannot run tests.

use hooklab_protocol::with_causes;

use crate::event::KernelError;
use crate::machine::{MachineError, StartError};

/// Why there is no machine, or no longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It did not become ready. Another one would not either, unless this one was ended from outside.
    #[error(transparent)]
    Boot(MachineError),
    /// It was ready, and ended before its work was done.
    #[error(transparent)]
    Lost(#[from] MachineError),
    /// A bug of the runner.
    #[error("a thread of the runner panicked")]
    Panicked,
}

impl Error {
    /// The error of a machine that is worth another try.
    pub(super) fn retryable(self) -> Result<MachineError, Self> {
        match self {
            Self::Boot(error @ (MachineError::Ended { .. } | MachineError::Cancelled))
            | Self::Lost(error) => Ok(error),
            other => Err(other),
        }
    }
}

impl From<Error> for KernelError {
    fn from(error: Error) -> Self {
        match error {
            Error::Boot(MachineError::Cancelled) | Error::Lost(MachineError::Cancelled) => Self::Interrupted,
            error => Self::Failed(with_causes(&error)),
        }
    }
}
