//! Temporary directories, removed by their user or, if that was killed, by the next one.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

const PREFIX: &str = "hooklab-";

/// Locked by the user of the directory; the kernel releases the lock when that process ends.
const LOCK: &str = "lock";

/// A temporary directory, removed when dropped.
#[derive(Debug)]
pub struct TemporaryDirectory {
    directory: TempDir,
    _lock: File,
}

impl TemporaryDirectory {
    /// Creates a directory, and removes leftovers.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn new() -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    fn new_in(parent: &Path) -> io::Result<Self> {
        sweep(parent);
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        // Locked before it has its name, so that another run does not remove it as a leftover.
        let unnamed = directory.path().join("new-lock");
        let lock = File::create(&unnamed)?;
        lock.lock()?;
        fs::rename(unnamed, directory.path().join(LOCK))?;
        Ok(Self { directory, _lock: lock })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Removes the leftovers of runs that were killed. Those of other users stay: their locks cannot be opened, or their
/// files cannot be removed.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        if let Ok(lock) = File::open(entry.path().join(LOCK))
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_is_swept_and_what_is_in_use_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let used = TemporaryDirectory::new_in(parent.path()).unwrap();
        let left = parent.path().join("hooklab-left");
        fs::create_dir(&left).unwrap();
        File::create(left.join(LOCK)).unwrap();
        let foreign = parent.path().join("hooklab-foreign");
        fs::create_dir(&foreign).unwrap();

        let next = TemporaryDirectory::new_in(parent.path()).unwrap();
        assert!(used.path().exists() && next.path().exists() && foreign.exists());
        assert!(!left.exists());
        let gone = next.path().to_owned();
        drop(next);
        assert!(!gone.exists());
    }
}
