//! Why a machine does not start, and why it ends early.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use hooklab_protocol as protocol;

use crate::qemu::console::printable;
use crate::qemu::initramfs;

/// Longest quotation of a guest, in characters.
const QUOTED: usize = 400;

/// Why a machine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or socket could not be created.
    #[error("failed to create the files and sockets of a machine")]
    Prepare(#[from] io::Error),
    /// There is no initramfs.
    #[error("failed to make an initramfs")]
    Initramfs(#[from] initramfs::Error),
    /// The program does not exist or cannot be executed.
    #[error("failed to start {program}")]
    Spawn {
        /// QEMU or the agent.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why a machine ended before its work was done.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The kernel panicked.
    #[error("the kernel panicked:\n{0}")]
    Panicked(String),
    /// The process ended.
    #[error("the machine ended unexpectedly ({}); the end of its console:\n{console}", shown(.status.as_ref()))]
    Ended {
        /// How the process ended; `None` if it has only closed its console so far.
        status: Option<ExitStatus>,
        /// The end of the console.
        console: String,
    },
    /// The agent reported nothing within the time limit.
    #[error("the guest reported nothing for {limit:.1?}; the end of its console:\n{console}")]
    Silent {
        /// The time limit.
        limit: Duration,
        /// The end of the console.
        console: String,
    },
    /// The guest does not follow the protocol.
    #[error("the guest violated the protocol")]
    Protocol(#[from] ProtocolError),
    /// The agent gave up.
    #[error("the agent in the guest gave up: {0}")]
    Agent(String),
    /// The host failed to give the guest what it needs.
    #[error("failed to {action}")]
    Host {
        /// A verb with its object.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A request cannot be sent.
    #[error("failed to write a request for the agent")]
    Request(#[source] protocol::Error),
    /// QEMU does not carry out a command of its monitor.
    #[error("failed to control QEMU")]
    Monitor(#[from] MonitorError),
    /// The user interrupted the run, or a failure elsewhere ended it.
    #[error("interrupted")]
    Cancelled,
}

/// How a guest violates the protocol.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The bytes are no message.
    #[error(transparent)]
    Message(#[from] protocol::Error),
    /// A message of another kind than what has to come next.
    #[error("the agent sent {report} instead of {expected}")]
    Unexpected {
        /// The beginning of the message.
        report: String,
        /// What had to come.
        expected: &'static str,
    },
    /// Messages keep coming after the time limit.
    #[error("the agent sent more and more reports after its time limit")]
    Endless,
    /// The guest does not read what it is sent.
    #[error("the agent did not read what it was sent")]
    Unread(#[source] io::Error),
}

impl ProtocolError {
    /// A report that had to be another one.
    pub(crate) fn unexpected(report: &protocol::Report, expected: &'static str) -> Self {
        Self::Unexpected { report: quoted(&format!("{report:?}")), expected }
    }
}

/// Why QEMU does not carry out a command.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// QEMU closed the monitor.
    #[error("QEMU closed its monitor")]
    Closed,
    /// QEMU does not answer in time.
    #[error("QEMU's monitor does not answer")]
    Silent,
    /// QEMU refuses a command.
    #[error("QEMU refused the command {command}: {description}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's description of the error.
        description: String,
    },
    /// The state could not be saved or loaded.
    #[error("QEMU's migration failed")]
    Migration,
    /// QEMU does not finish saving.
    #[error("QEMU's migration does not end")]
    EndlessMigration,
    /// The bytes are no message.
    #[error("QEMU's monitor sent a malformed message")]
    Malformed(#[from] serde_json::Error),
    /// The socket failed.
    #[error("the connection to QEMU's monitor failed")]
    Socket(#[from] io::Error),
}

fn shown(status: Option<&ExitStatus>) -> String {
    status.map_or_else(|| "it closed its console".to_owned(), ExitStatus::to_string)
}

/// The beginning of a text from a guest, without characters that control a terminal.
pub(crate) fn quoted(text: &str) -> String {
    printable(&text.chars().take(QUOTED).collect::<String>())
}
