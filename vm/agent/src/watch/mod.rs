//! Compares the kernel after a test with what it was before, and makes it again what it was.
//!
//! In the usual case there is nothing to see, and that must cost next to nothing: each watcher has a quick look, and
//! only where one seems to see something is there any waiting, naming and cleaning.

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

/// How often to look whether the kernel has freed what nobody holds any more; it tells nobody.
const STEP: Duration = Duration::from_millis(1);

/// Watches one kind of thing that a test can leave behind.
trait Watcher {
    /// What is different from what was there in the beginning, a line for each thing; must be quick where nothing is.
    fn left(&mut self) -> Vec<String>;

    /// Takes away what [`Watcher::left`] found, as far as that can be done from here.
    fn clear(&mut self) {}

    /// Takes note of what is different in a machine that has just been woken.
    fn woken(&mut self) {}
}

/// The kernel as it was before anything ran on it.
pub(crate) struct Watch {
    messages: Messages,
    /// What stays until somebody takes it away. In the order to do that in: what holds something else comes first.
    lasting: Vec<Box<dyn Watcher>>,
    /// What goes by itself, a while after nobody holds it any more.
    fading: Vec<Box<dyn Watcher>>,
}

impl Watch {
    /// Takes note of what there is. A kernel without tracefs or bpffs has nothing to be left there.
    pub(crate) fn begin() -> Self {
        Self {
            messages: Messages::from_now_on(),
            lasting: vec![
                Box::new(bpf::Pins::now()),
                Box::new(tracing::Instances::now()),
                Box::new(tracing::EnabledEvents::now()),
                Box::new(tracing::DynamicEvents::now()),
                Box::new(tracing::Switches::now()),
                Box::new(mounts::Mounts::now()),
                Box::new(clock::Clock::now()),
            ],
            fading: vec![Box::new(bpf::Objects::now()), Box::new(listing::Interfaces::now())],
        }
    }

    /// What the kernel said when it was woken, and what was set then, is no test's doing.
    pub(crate) fn woken(&mut self) {
        self.messages = Messages::from_now_on();
        self.lasting.iter_mut().for_each(|watcher| watcher.woken());
    }

    /// Says what the test that has just ended did to the kernel, beside the `processes` it left running, which are
    /// gone by now. `settling` is called before anything that takes time.
    pub(crate) fn after(
        &mut self,
        processes: Vec<String>,
        settling: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<SideEffects, Error> {
        let complaint = self.messages.complaint();
        let mut left = processes;
        let mut spent = !complaint.is_empty();
        for watcher in &mut self.lasting {
            let found = watcher.left();
            if !found.is_empty() {
                settling()?;
                watcher.clear();
                spent |= !watcher.left().is_empty();
                left.extend(found);
            }
        }
        if self.fading.iter_mut().any(|watcher| !watcher.left().is_empty()) {
            settling()?;
            let stayed = self.settle();
            spent |= !stayed.is_empty();
            left.extend(stayed);
        }
        let more = left.len().saturating_sub(MAX_LEAKS);
        if more > 0 {
            left.truncate(MAX_LEAKS - 1);
            left.push(format!("and {} more", more + 1));
        }
        Ok(SideEffects { leaks: left, kernel_warnings: complaint, dirty: spent })
    }

    /// Waits for what goes by itself; gives what did not.
    fn settle(&mut self) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_millis(SETTLE_MS);
        loop {
            let stayed: Vec<String> = self.fading.iter_mut().flat_map(|watcher| watcher.left()).collect();
            if stayed.is_empty() || Instant::now() >= deadline {
                return stayed;
            }
            sleep(STEP);
        }
    }
}
