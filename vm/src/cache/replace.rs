//! Directories that are made in one step, replaced at will, and bounded in the room that they take.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::{Record, Store, WORK};

/// None takes as long as this to be made.
const LONG: Duration = Duration::from_secs(600);

impl<R: Record> Store<R> {
    /// Has `fill` fill a directory, and puts it in the place of what has that key. The caller holds a lock. Nothing is
    /// synced: whoever reads it checks what a crash of the host made of it.
    pub(crate) fn replace(&self, key: &str, fill: impl FnOnce(&Path) -> io::Result<R>) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let work = self.root.join(format!("{WORK}{key}"));
        // Left there by one that was killed.
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

    /// Removes a directory. What is in use stays with those who have it open.
    pub(crate) fn discard(&self, key: &str) {
        // Renamed first, so that nobody finds a part of it. Fails where there is none.
        let _ = TempDir::with_prefix_in(WORK, &self.root)
            .and_then(|aside| fs::rename(self.root.join(key), aside.path().join(key)));
    }

    /// Says that a directory was used now; where that cannot be written, it goes first.
    pub(crate) fn touch(&self, key: &str) {
        let record = File::options().append(true).open(self.root.join(key).join(R::FILE));
        let _ = record.and_then(|record| record.set_modified(SystemTime::now()));
    }

    /// Removes what was not used for longest until the `room` of the rest, in bytes, is at most `budget`, but never
    /// `newest`; and leftover half-made directories.
    pub(crate) fn trim(&self, budget: u64, newest: &str, room: impl Fn(&Path) -> u64) -> io::Result<()> {
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
                kept.push((used, name, room(&entry.path())));
            }
        }
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, _, room)| room).sum();
        for (_, name, room) in kept.iter().filter(|(_, name, _)| name != newest) {
            if total <= budget {
                break;
            }
            self.discard(name);
            total -= room;
        }
        Ok(())
    }
}

/// Makes a directory, which is locked as long as what is returned lives.
pub(crate) fn make<R: Record>(
    directory: &Path,
    fill: impl FnOnce(&Path) -> io::Result<R>,
) -> io::Result<File> {
    fs::create_dir(directory)?;
    let lock = File::open(directory)?;
    // Where there are no locks, its age must do.
    let _ = lock.try_lock();
    let record = fill(directory)?;
    fs::write(directory.join(R::FILE), serde_json::to_vec(&record)?)?;
    Ok(lock)
}

/// Whether a half-made directory is a leftover. Since the clock may jump, a lock counts for more than an age.
fn is_stale(directory: &Path) -> bool {
    if File::open(directory).is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock))) {
        return false;
    }
    let age = fs::metadata(directory).and_then(|metadata| metadata.modified()).map(|made| made.elapsed());
    age.is_ok_and(|age| age.is_ok_and(|age| age > LONG))
}
