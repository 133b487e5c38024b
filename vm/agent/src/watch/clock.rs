//! The clock: whoever sets it leaves it to those who come after.

use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};

use super::Watcher;

/// Less than this is the clock's own doing.
const TOLERANCE: Duration = Duration::from_millis(500);

/// When the machine's time began, by its clock: the clock's time less that for which the machine has been up, which
/// nobody can set (clock_gettime(2)).
pub(super) struct Clock {
    began: Option<TimeSpec>,
}

impl Clock {
    pub(super) fn now() -> Self {
        Self { began: began() }
    }
}

fn began() -> Option<TimeSpec> {
    Some(clock_gettime(ClockId::CLOCK_REALTIME).ok()? - clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?)
}

impl Watcher for Clock {
    fn left(&mut self) -> Vec<String> {
        let (Some(before), Some(now)) = (self.began, began()) else { return Vec::new() };
        let apart = if now > before { now - before } else { before - now };
        match Duration::from(apart) > TOLERANCE {
            true => vec!["the clock, set to another time".into()],
            false => Vec::new(),
        }
    }

    fn woken(&mut self) {
        *self = Self::now();
    }

    fn clear(&mut self) {
        let (Some(before), Ok(up)) = (self.began, clock_gettime(ClockId::CLOCK_BOOTTIME)) else { return };
        // Where this fails, the next look says so.
        let _ = clock_settime(ClockId::CLOCK_REALTIME, before + up);
    }
}
