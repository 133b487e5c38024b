//! Free memory for the next test. A guest's files are in memory, too.

use std::fs;
use std::path::Path;

use nix::sys::sysinfo::sysinfo;

use crate::Error;

/// Directories for temporary files, which tests need not remove themselves.
const TEMPORARY: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/run"];

/// The amount of memory that was free before the first test.
pub(crate) struct FreeMemory {
    bytes: u64,
}

impl FreeMemory {
    /// Records the current amount.
    pub(crate) fn now() -> Self {
        Self { bytes: free_bytes() }
    }

    /// Removes temporary files, calling `settling` before each. Returns whether more than half of the recorded amount is
    /// free afterwards.
    pub(crate) fn reclaim(&self, settling: &mut dyn FnMut() -> Result<(), Error>) -> Result<bool, Error> {
        for entry in TEMPORARY.iter().flat_map(fs::read_dir).flatten().flatten() {
            settling()?;
            // What cannot be removed counts as used memory below.
            let _ = remove(&entry.path());
        }
        Ok(free_bytes() > self.bytes / 2)
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Unused memory (sysinfo(2)). The page cache counts as used: without a disk behind it, the kernel cannot drop it.
fn free_bytes() -> u64 {
    sysinfo().map_or(0, |info| info.ram_unused())
}
