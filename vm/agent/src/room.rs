//! Room for the next test: memory, of which the guest's files are made as well.

use std::fs;
use std::path::Path;

use nix::sys::sysinfo::sysinfo;

use crate::Error;

/// Where tests leave files without a thought.
const TEMPORARY: &str = "/tmp";

/// How much there was before any test ran.
pub(crate) struct Room {
    bytes: u64,
}

impl Room {
    pub(crate) fn now() -> Self {
        Self { bytes: unused() }
    }

    /// Removes temporary files; `settling` is called before. Says whether there is room enough then: what else a test has
    /// filled takes less than half of what there was.
    pub(crate) fn make(&self, settling: &mut dyn FnMut() -> Result<(), Error>) -> Result<bool, Error> {
        for entry in fs::read_dir(TEMPORARY).into_iter().flatten().flatten() {
            settling()?;
            // What cannot be removed shows in the room that is left.
            let _ = remove(&entry.path());
        }
        Ok(unused() > self.bytes / 2)
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Nothing here has a disk behind it: what caches hold cannot be given back (sysinfo(2)).
fn unused() -> u64 {
    sysinfo().map_or(0, |info| info.ram_unused())
}
