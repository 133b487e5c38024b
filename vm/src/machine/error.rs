//! How machines fail to start, and how they end.

use std::io;
use std::time::Duration;

use crate::qemu::console::printable;
use crate::qemu::initramfs;

/// Longest quote of what a guest said, in characters.
const QUOTED: usize = 400;

/// Why a machine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or socket could not be made.
    #[error("prepare a machine: {0}")]
    Prepare(#[from] io::Error),
    /// The initramfs could not be made.
    #[error(transparent)]
    Initramfs(#[from] initramfs::Error),
    /// The program is not there or may not be run.
    #[error("start {0}: {1}")]
    Spawn(String, io::Error),
}

/// How a machine ended before its work was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Death {
    /// The kernel said its last words.
    #[error("the kernel panicked:\n{0}")]
    Panicked(String),
    /// The process ended.
    #[error("the machine stopped ({status}); its last words:\n{tail}")]
    Stopped {
        /// How the process ended.
        status: String,
        /// The end of the console.
        tail: String,
    },
    /// Nothing came within the time allowed.
    #[error("nothing came from the guest for {limit:.1?}; the end of its console:\n{tail}")]
    Silent {
        /// How long was waited.
        limit: Duration,
        /// The end of the console.
        tail: String,
    },
    /// What came over the port is no message.
    #[error("the guest talks nonsense: {0}")]
    Nonsense(String),
    /// The agent said why it cannot go on.
    #[error("the agent in the guest failed to go on: {0}")]
    Problem(String),
    /// QEMU does not do what its monitor is asked for.
    #[error("QEMU does not do what it is told: {0}")]
    Monitor(String),
    /// The user interrupted the run, or a failure elsewhere was to be its end.
    #[error("interrupted")]
    Cancelled,
}

impl Death {
    /// What a guest said is quoted, but not at any length.
    pub(crate) fn nonsense(what: &str) -> Self {
        Self::Nonsense(quoted(what))
    }
}

/// The beginning of what a guest said, without what steers a terminal.
pub(crate) fn quoted(text: &str) -> String {
    printable(&text.chars().take(QUOTED).collect::<String>())
}
