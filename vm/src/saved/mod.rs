//! Saved machines: what a machine was when its agent said hello, so that it need not boot again.
//!
//! The guest's memory is a file of its own, which QEMU maps: a resumed machine reads of it what it touches, and its
//! writes stay its own. So the file is kept as it is, with holes for zeros: to unpack a compressed one would cost more
//! than all else that a resume does.

pub(crate) mod memory;
mod store;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

pub use store::Store;

/// A machine that sleeps.
#[derive(Debug)]
pub struct Saved {
    /// The guest's memory.
    pub(crate) memory: File,
    /// The rest of the machine, as QEMU writes it.
    pub(crate) state: File,
}

impl Saved {
    /// The state, to be read by one machine: a descriptor that is only duplicated would share its position.
    pub(crate) fn state_from_its_beginning(&self) -> io::Result<File> {
        File::open(format!("/proc/self/fd/{}", self.state.as_raw_fd()))
    }
}
