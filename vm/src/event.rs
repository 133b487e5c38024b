//! What can happen while the lab works: one stream of events with many readers. The engine itself never prints.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

/// Something that happened. Readers may ignore what they do not know.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// Something unusual that does not stop the work; one sentence without a full stop.
    Warning(String),
    /// A piece of work that can take seconds began; it ends with the next event of the same kind or of another.
    Step(String),
    /// Bytes of a download so far; `total` is 0 where it is not known.
    Download {
        /// What is downloaded, for a person: a package's name and version.
        name: String,
        /// Bytes received.
        received: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A machine was started for a kernel and is on its way to the agent's hello.
    KernelStarted {
        /// The kernel, as the user named it.
        spec: String,
    },
    /// The agent said hello.
    KernelUp {
        /// The kernel, as the user named it.
        spec: String,
        /// What `uname -r` prints in the guest.
        release: String,
        /// From the start of QEMU to the hello.
        boot: Duration,
    },
    /// A test began.
    TestStarted {
        /// The kernel, as the user named it.
        spec: String,
        /// The test's name, as its binary lists it.
        test: String,
    },
    /// A test has a result.
    TestEnded {
        /// The kernel, as the user named it.
        spec: String,
        /// The test's name, as its binary lists it.
        test: String,
        /// How it went.
        outcome: Outcome,
        /// How long it ran.
        duration: Duration,
        /// What it printed; all of it where it did not pass.
        output: String,
    },
    /// No more will come from this kernel.
    KernelEnded {
        /// The kernel, as the user named it.
        spec: String,
        /// Why the lab could not do its job on it, if so.
        error: Option<String>,
        /// The console's log, where one was kept.
        log: Option<PathBuf>,
    },
}

/// How a test went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It ran and its harness said so.
    Passed,
    /// It ran and failed.
    Failed,
    /// It did not end within its time limit.
    TimedOut,
    /// It, or the kernel under it, died.
    Crashed,
    /// It left something behind in the kernel.
    Leaked,
    /// It is marked as ignored in its source, and was not run.
    Ignored,
}

/// A reader of events. Called from many threads.
pub trait Observer: Sync {
    /// Takes note of `event`; must not block for long.
    fn notify(&self, event: Event);
}

impl<F: Fn(Event) + Sync> Observer for F {
    fn notify(&self, event: Event) {
        self(event);
    }
}
