//! Saved machines: their state when the agent reported ready, from which they are restored instead of booting.
//!
//! The guest's memory is a file of its own, which QEMU maps privately: a restored machine reads only the pages that it
//! touches, and its writes stay in its process. So the file is stored uncompressed, with holes for zeros: to decompress it
//! would take longer than the rest of a restore.

pub(crate) mod memory;
mod store;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

pub use store::{Error, Store};

/// A saved machine.
#[derive(Debug)]
pub struct Saved {
    /// The guest's memory.
    pub(crate) memory: File,
    /// The rest of the machine, as QEMU writes it.
    pub(crate) state: File,
}

impl Saved {
    /// Opens the state for one machine: a duplicated descriptor would share its position.
    pub(crate) fn open_state(&self) -> io::Result<File> {
        File::open(format!("/proc/self/fd/{}", self.state.as_raw_fd()))
    }
}
