//! Utilities for the host: child processes that end with this one, locks between processes, atomic writes, digests,
//! temporary directories.

pub mod child;
pub mod digest;
mod file;
pub mod file_lock;
mod temporary;

use std::fs;

pub use file::{FileError, write_whole};
pub use temporary::TemporaryDirectory;

/// Identifies the host's current boot (random(4)).
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
