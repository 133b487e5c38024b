//! The clock, which a test may set.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};

use super::Watcher;

/// Maximum drift of an unchanged clock.
const TOLERANCE: Duration = Duration::from_millis(500);

/// The boot time according to the clock: its time minus the machine's uptime, which cannot be set (clock_gettime(2)).
pub(super) struct Clock {
    boot_time: Option<TimeSpec>,
}

impl Clock {
    pub(super) fn now() -> Self {
        Self { boot_time: boot_time() }
    }
}

fn boot_time() -> Option<TimeSpec> {
    Some(clock_gettime(ClockId::CLOCK_REALTIME).ok()? - clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?)
}

impl Watcher for Clock {
    fn leaks(&mut self) -> Vec<String> {
        let (Some(before), Some(now)) = (self.boot_time, boot_time()) else { return Vec::new() };
        let difference = if now > before { now - before } else { before - now };
        match Duration::from(difference) > TOLERANCE {
            true => vec!["clock set to a different time".into()],
            false => Vec::new(),
        }
    }

    fn restored(&mut self) {
        *self = Self::now();
    }

    fn remove(&mut self) {
        let (Some(before), Ok(up)) = (self.boot_time, clock_gettime(ClockId::CLOCK_BOOTTIME)) else { return };
        // If this fails, the next check finds it.
        let _ = clock_settime(ClockId::CLOCK_REALTIME, before + up);
    }
}
