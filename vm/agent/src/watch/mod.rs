//! Side effects of tests: compares the kernel's state after a test with that before the first one, and restores it.
//!
//! Most tests have no side effects, and finding none must be cheap: each watcher makes a quick check, and only after a
//! finding does the agent wait, list and remove leaks.

mod bpf;
mod clock;
mod kmsg;
mod listing;
mod mounts;
mod tracing;

use std::thread::sleep;
use std::time::{Duration, Instant};

use hooklab_protocol::{MAX_LEAKS, SETTLE_MS, SideEffects};

use self::kmsg::Messages;
use crate::Error;

/// How often to check whether the kernel has freed unreferenced objects, for which it sends no notification.
const INTERVAL: Duration = Duration::from_millis(1);

/// Watches for one kind of leak.
trait Watcher {
    /// The differences from the initial state, one line each; must be quick if there are none.
    fn leaks(&mut self) -> Vec<String>;

    /// Removes what [`Watcher::leaks`] found, as far as possible.
    fn remove(&mut self) {}

    /// Updates the initial state after a restore, for what the fix-ups change.
    fn restored(&mut self) {}
}

/// The state of the kernel before the first test.
pub(crate) struct Watch {
    messages: Messages,
    /// Watchers for what stays until it is removed. In removal order: holders of references first.
    persistent: Vec<Box<dyn Watcher>>,
    /// Watchers for what the kernel frees by itself, some time after its last reference is dropped.
    transient: Vec<Box<dyn Watcher>>,
}

impl Watch {
    /// Records the current state. On a kernel without tracefs or bpffs, their watchers find nothing.
    pub(crate) fn begin() -> Self {
        Self {
            messages: Messages::from_now_on(),
            persistent: vec![
                Box::new(bpf::Pins::now()),
                Box::new(tracing::Instances::now()),
                Box::new(tracing::EnabledEvents::now()),
                Box::new(tracing::DynamicEvents::now()),
                Box::new(tracing::Settings::now()),
                Box::new(mounts::Mounts::now()),
                Box::new(clock::Clock::now()),
            ],
            transient: vec![Box::new(bpf::Objects::now()), Box::new(listing::Interfaces::now())],
        }
    }

    /// Updates the recorded state after a restore: the kernel's messages until then, and the fix-ups, are no side effects.
    pub(crate) fn restored(&mut self) {
        self.messages = Messages::from_now_on();
        self.persistent.iter_mut().for_each(|watcher| watcher.restored());
    }

    /// Finds the side effects of the test that has just ended, and removes the leaks that it can. `processes` are those that
    /// the test left running, and that were killed. Calls `settling` before anything that takes time.
    pub(crate) fn after(
        &mut self,
        processes: Vec<String>,
        settling: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<SideEffects, Error> {
        let kernel_warnings = self.messages.warnings();
        let mut leaks = processes;
        let mut dirty = !kernel_warnings.is_empty();
        for watcher in &mut self.persistent {
            let found = watcher.leaks();
            if !found.is_empty() {
                settling()?;
                watcher.remove();
                dirty |= !watcher.leaks().is_empty();
                leaks.extend(found);
            }
        }
        if self.transient.iter_mut().any(|watcher| !watcher.leaks().is_empty()) {
            settling()?;
            let remaining = self.settle();
            dirty |= !remaining.is_empty();
            leaks.extend(remaining);
        }
        let more = leaks.len().saturating_sub(MAX_LEAKS);
        if more > 0 {
            leaks.truncate(MAX_LEAKS - 1);
            leaks.push(format!("and {} more", more + 1));
        }
        Ok(SideEffects { leaks, kernel_warnings, dirty })
    }

    /// Waits for the kernel to free unreferenced objects. Returns those that remain.
    fn settle(&mut self) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_millis(SETTLE_MS);
        loop {
            let remaining: Vec<String> =
                self.transient.iter_mut().flat_map(|watcher| watcher.leaks()).collect();
            if remaining.is_empty() || Instant::now() >= deadline {
                return remaining;
            }
            sleep(INTERVAL);
        }
    }
}
