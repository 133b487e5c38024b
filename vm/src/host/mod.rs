//! What concerns the host alone: processes that die with us, locks between processes, files written as a whole, digests,
//! temporary directories.

pub mod child;
pub mod digest;
mod file;
pub mod file_lock;
mod temporary;

use std::fs;

pub use file::{FileError, write_whole};
pub use temporary::TemporaryDirectory;

/// Differs from boot to boot of the host (random(4)).
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
