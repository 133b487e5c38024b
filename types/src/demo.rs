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
    /// The loader's other options.
    pub options: LoadOptions,
    /// What runs while the program is attached.
    pub workload: Workload,
    /// How long the program stays attached at least, in milliseconds.
    pub duration_ms: u64,
    /// How long the workload may take, in milliseconds.
    pub timeout_ms: u64,
}

/// Options of `hooklab-loader run`, under their names there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadOptions {
    /// The network interface of XDP and TC programs.
    pub interface: Option<String>,
    /// The cgroup of cgroup programs.
    pub cgroup: Option<String>,
    /// The file of uprobes whose section names none.
    pub path: Option<String>,
    /// Globals to set, each as `NAME=VALUE`.
    pub set: Vec<String>,
    /// The struct as which records are decoded.
    pub event: Option<String>,
    /// Whether to show maps at the end.
    pub maps: bool,
    /// Whether a program that cannot be attached is an error while others can.
    pub strict: bool,
}

/// Whose calls the program is to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// Those of this thread group.
    Pid(i32),
    /// Those of the first of the two processes that write.
    Writer,
    /// Those of the command.
    Command,
}

/// What runs while a program is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// A command with its arguments.
    Command(Vec<String>),
    /// System calls of the helper itself.
    Stimuli(Vec<Stimulus>),
}

/// System calls that people trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stimulus {
    /// Two processes call `write`.
    Write,
    /// Read from files.
    Read,
    /// Open files, among them one that does not exist.
    Open,
    /// Ask for the attributes of files.
    Stat,
    /// Execute a program, which exits.
    Exec,
    /// Fork a process, which exits with 1.
    Fork,
    /// Send signals, one of which ends a process.
    Kill,
    /// Create and remove a file.
    Unlink,
    /// Create and remove a directory.
    Mkdir,
    /// Rename a file.
    Rename,
    /// Map memory, and change its protection.
    Mmap,
    /// Sleep.
    Sleep,
    /// Connect over TCP on loopback.
    Tcp,
    /// Send a datagram over UDP on loopback.
    Udp,
    /// Connect over a Unix socket.
    Unix,
    /// Set the user id that the process has.
    Setuid,
    /// Mount a file system, in a mount namespace of its own.
    Mount,
    /// Ask to be traced.
    Ptrace,
}

impl Stimulus {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 18] = [
        Self::Write,
        Self::Read,
        Self::Open,
        Self::Stat,
        Self::Exec,
        Self::Fork,
        Self::Kill,
        Self::Unlink,
        Self::Mkdir,
        Self::Rename,
        Self::Mmap,
        Self::Sleep,
        Self::Tcp,
        Self::Udp,
        Self::Unix,
        Self::Setuid,
        Self::Mount,
        Self::Ptrace,
    ];

    /// The name, as the command line and JSON have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Open => "open",
            Self::Stat => "stat",
            Self::Exec => "exec",
            Self::Fork => "fork",
            Self::Kill => "kill",
            Self::Unlink => "unlink",
            Self::Mkdir => "mkdir",
            Self::Rename => "rename",
            Self::Mmap => "mmap",
            Self::Sleep => "sleep",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Unix => "unix",
            Self::Setuid => "setuid",
            Self::Mount => "mount",
            Self::Ptrace => "ptrace",
        }
    }

    /// The system calls that it makes, for a help text.
    pub const fn calls(self) -> &'static str {
        match self {
            Self::Write => "two processes write(), the first one three times, the second one twice",
            Self::Read => "read(), pread64(), lseek() and close()",
            Self::Open => "openat() of a file, and of one that does not exist",
            Self::Stat => "stat() and statx() of a file, getdents64()",
            Self::Exec => "execve() of a program that exits",
            Self::Fork => "fork(), exit_group(1), wait4()",
            Self::Kill => "kill() of a process, tgkill() with signal 0",
            Self::Unlink => "creat() and unlink() of a file, chmod(), symlink()",
            Self::Mkdir => "mkdir(), rmdir() and chdir()",
            Self::Rename => "rename() of a file",
            Self::Mmap => "mmap(), mprotect() and munmap()",
            Self::Sleep => "nanosleep() for 10 milliseconds",
            Self::Tcp => "socket(), connect(), accept4(), sendto() and recvfrom() on 127.0.0.1",
            Self::Udp => "a datagram on 127.0.0.1",
            Self::Unix => "connect(), accept(), read() and sendto() on a Unix socket, a pipe, dup()",
            Self::Setuid => "setuid() to the user that it is",
            Self::Mount => "mount() and umount2() in a mount namespace of its own",
            Self::Ptrace => "ptrace(PTRACE_TRACEME) of a process that exits",
        }
    }
}

/// A line of the helper's standard output: what happens, as it happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "kebab-case")]
pub enum Message {
    /// A line of the loader's standard output: a [`Line`](crate::loader::Line) as JSON, or what a loader printed by itself.
    Loader {
        /// The line.
        line: String,
    },
    /// The workload's processes, before they begin.
    Workload {
        /// Who does what.
        actors: Vec<Actor>,
    },
    /// A line of the command's.
    Command {
        /// Whether it is of standard error.
        is_error: bool,
        /// The line.
        line: String,
    },
    /// Something about the workload that is worth a line.
    Note {
        /// The line.
        text: String,
    },
    /// Lines that are not shown, since there were too many.
    Omitted {
        /// How many.
        lines: u64,
    },
}

/// A process of the workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Its PID.
    pub pid: u32,
    /// What it does.
    pub does: Deed,
}

/// What a process of the workload does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// It calls `write()` this often.
    Writes(u32),
    /// It makes these system calls.
    Makes(Vec<Stimulus>),
    /// It runs the command.
    Runs,
}

/// What came of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The loader's exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it attached, if it did.
    pub attached: Option<Attached>,
    /// How the workload ended, if it began.
    pub workload: Option<Ended>,
    /// What the loader said on standard error.
    pub error: String,
}

/// How a workload ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was killed at its time limit.
    TimedOut,
    /// It could not be run.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stimulus_is_called_the_same_in_json_and_on_the_command_line() {
        for stimulus in Stimulus::ALL {
            assert_eq!(serde_json::to_string(&stimulus).unwrap(), format!("{:?}", stimulus.name()));
        }
    }
}
