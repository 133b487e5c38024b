//! Events of the lab: one stream with many readers. The engine itself never prints.

use std::time::Duration;

pub use hooklab_types::kernel::{Features, Need, Start};
pub use hooklab_types::test::{Attempt, Outcome};

use crate::TestId;

/// An event. Readers may ignore those that they do not know.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// Something unusual that does not stop the work; one sentence without a full stop.
    Warning(String),
    /// A step that can take seconds began; it ends with the next event.
    Step(String),
    /// Bytes of a download so far; `total` is 0 where it is not known.
    Download {
        /// A package's name and version, for a person.
        name: String,
        /// Bytes received.
        received: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Information about the run, such as the accelerator that it uses.
    Note(String),
    /// Work on a kernel began.
    KernelStarted {
        /// The kernel, as the user named it.
        spec: String,
        /// How many tests will run on it.
        tests: usize,
    },
    /// The agent reported ready. Comes again for each further machine of the kernel.
    KernelUp {
        /// The kernel, as the user named it.
        spec: String,
        /// What `uname -r` prints in the guest.
        release: String,
        /// What the kernel can do.
        features: Features,
        /// How the agent came to run.
        start: Start,
        /// From the start of QEMU until the agent was ready.
        boot: Duration,
    },
    /// A test began.
    TestStarted {
        /// The kernel, as the user named it.
        spec: String,
        /// The test.
        test: TestId,
    },
    /// A test did not pass, and is retried on a fresh machine.
    TestRetried {
        /// The kernel, as the user named it.
        spec: String,
        /// The test.
        test: TestId,
        /// This attempt.
        attempt: Attempt,
    },
    /// A test has a result.
    TestEnded {
        /// The kernel, as the user named it.
        spec: String,
        /// The test.
        test: TestId,
        /// How it went.
        outcome: Outcome,
        /// How long it ran.
        duration: Duration,
        /// Why it did not pass or was not run, for a person; `None` where it passed.
        message: Option<String>,
        /// Earlier attempts, if there are; the outcome, duration and message above are the last one's.
        earlier: Vec<Attempt>,
    },
    /// A running test printed something, and [`Campaign::stream`](crate::runner::Campaign::stream) asks for it.
    Output {
        /// The kernel, as the user named it.
        spec: String,
        /// The test.
        test: TestId,
        /// What it printed since the last such event: not to be trusted, and without regard to lines.
        text: String,
    },
    /// A test created or changed a file in the collected directory.
    File {
        /// The kernel, as the user named it.
        spec: String,
        /// The test.
        test: TestId,
        /// Path relative to the collected directory, as the guest gave it: not to be trusted.
        path: String,
        /// Its content.
        content: String,
    },
    /// Work on a kernel ended; no event of it follows.
    KernelEnded {
        /// The kernel, as the user named it.
        spec: String,
        /// Why the lab could not run all tests on it, if so.
        error: Option<KernelError>,
        /// Since work on it began.
        wall: Duration,
    },
}

/// Why the lab could not run all tests on a kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// The user interrupted the run.
    #[error("interrupted")]
    Interrupted,
    /// An error with its causes, for a person.
    #[error("{0}")]
    Failed(String),
}

/// A reader of events. Called from many threads.
pub trait Observer: Sync {
    /// Handles `event`; must not block for long.
    fn notify(&self, event: Event);
}

impl<F: Fn(Event) + Sync> Observer for F {
    fn notify(&self, event: Event) {
        self(event);
    }
}
