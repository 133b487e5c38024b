//! Directories that are made in one step, replaced at will, and limited in the space that they take.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::{Record, Store, WORK};

/// Longer than it takes to make any directory.
const LONG: Duration = Duration::from_secs(600);

impl<R: Record> Store<R> {
    /// Fills a directory with `fill`, and replaces the one of that key. The caller holds a lock. Syncs nothing: readers detect
    /// what a crash of the host damages.
    pub(crate) fn replace(&self, key: &str, fill: impl FnOnce(&Path) -> io::Result<R>) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let work = self.root.join(format!("{WORK}{key}"));
        // A leftover of a process that was killed.
        let _ = fs::remove_dir_all(&work);
        let replaced = make(&work, fill).and_then(|_lock| {
            self.discard(key);
            fs::rename(&work, self.root.join(key))
        });
        if replaced.is_err() {
            let _ = fs::remove_dir_all(&work);
        }
        replaced
    }

    /// Removes a directory. Processes that use it keep its files open.
    pub(crate) fn discard(&self, key: &str) {
        // Renamed first, so that no process finds a part of it. Fails if it does not exist.
        let _ = TempDir::with_prefix_in(WORK, &self.root)
            .and_then(|aside| fs::rename(self.root.join(key), aside.path().join(key)));
    }

    /// Marks a directory as used now; ignores errors.
    pub(crate) fn touch(&self, key: &str) {
        let record = File::options().append(true).open(self.root.join(key).join(R::FILE));
        let _ = record.and_then(|record| record.set_modified(SystemTime::now()));
    }

    /// Removes the least recently used directories, but never `newest`, until the others take at most `budget` bytes, as `size`
    /// measures them; and leftover incomplete directories.
    pub(crate) fn trim(&self, budget: u64, newest: &str, size: impl Fn(&Path) -> u64) -> io::Result<()> {
        let mut kept: Vec<(SystemTime, String, u64)> = Vec::new();
        for entry in fs::read_dir(&self.root)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(WORK) && is_stale(&entry.path()) {
                let _ = fs::remove_dir_all(entry.path());
            }
            if let Ok(record) = fs::metadata(entry.path().join(R::FILE))
                && !name.starts_with('.')
            {
                let used = record.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                kept.push((used, name, size(&entry.path())));
            }
        }
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, _, size)| size).sum();
        for (_, name, size) in kept.iter().filter(|(_, name, _)| name != newest) {
            if total <= budget {
                break;
            }
            self.discard(name);
            total -= size;
        }
        Ok(())
    }
}

/// Makes a directory, which is locked as long as the result lives.
pub(crate) fn make<R: Record>(
    directory: &Path,
    fill: impl FnOnce(&Path) -> io::Result<R>,
) -> io::Result<File> {
    fs::create_dir(directory)?;
    let lock = File::open(directory)?;
    // On file systems without locks, its age protects it.
    let _ = lock.try_lock();
    let record = fill(directory)?;
    fs::write(directory.join(R::FILE), serde_json::to_vec(&record)?)?;
    Ok(lock)
}

/// Whether an incomplete directory is a leftover. A lock overrides the age, since the clock may jump.
fn is_stale(directory: &Path) -> bool {
    if File::open(directory).is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock))) {
        return false;
    }
    let age = fs::metadata(directory).and_then(|metadata| metadata.modified()).map(|made| made.elapsed());
    age.is_ok_and(|age| age.is_ok_and(|age| age > LONG))
}
