//! Waiting for events. Tests wait for what happens, never for a time to pass.

use std::time::{Duration, Instant};

/// How long an event may take before it counts as one that never happens, however busy the machine is. Whatever a test
/// interrupts must be able to last longer than this, so that nothing else can have ended it.
const HANG: Duration = Duration::from_secs(300);

/// How long something may take once it is due. On a quiet machine the slowest takes 2 s; if nobody noticed that it is due,
/// the next limit to end it would be QEMU's to answer (20 s), a test's (30 s) or a boot's (60 s).
pub(crate) const PROMPTLY: Duration = Duration::from_secs(15);

/// How long to wait.
#[derive(Clone, Copy)]
pub(crate) struct Limit(Duration);

impl Limit {
    /// For what happens sooner or later.
    pub(crate) const HANG: Self = Self(HANG);

    /// For what happens within this time.
    pub(crate) const fn within(duration: Duration) -> Self {
        Self(duration)
    }
}

/// Waits for an event. One that does not happen within the limit is an error that says what was awaited, and shows the
/// output.
pub(crate) fn wait_for<T>(
    event: &str,
    limit: Limit,
    mut happens: impl FnMut() -> Option<T>,
    output: impl FnOnce() -> String,
) -> T {
    let begin = Instant::now();
    loop {
        if let Some(result) = happens() {
            return result;
        }
        if begin.elapsed() > limit.0 {
            panic!("waited {:?} in vain for {event}; the output so far:\n{}", limit.0, output());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
