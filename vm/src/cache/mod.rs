//! Stores of directories that are complete or absent.
//!
//! A directory is filled aside and renamed, and its record is written last: one that has a record under its own name is
//! complete. Who fills one holds a lock, which the system releases with its holder, however that ends.

mod fill;
mod replace;

use std::fs::{self, File, TryLockError};
use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use fill::{Filling, Work};
#[cfg(test)]
pub(crate) use replace::make;

use crate::host::{FileError, file_lock};

/// What the names of half-made directories begin with, before the key.
pub(crate) const WORK: &str = ".work-";

/// What the names of lock files begin with, before the key.
pub(crate) const LOCK: &str = ".lock-";

/// What a directory of a store says of itself; written last.
pub(crate) trait Record: Serialize + DeserializeOwned {
    /// The name of its file.
    const FILE: &'static str;

    /// Whether it is in the form that this program writes, and the directory still has what it says.
    fn is_whole(&self, directory: &Path) -> bool;
}

/// A store.
#[derive(Debug)]
pub(crate) struct Store<R> {
    root: PathBuf,
    records: PhantomData<fn() -> R>,
}

/// A directory of a store.
#[derive(Debug, Clone)]
pub(crate) struct Stored<R> {
    pub(crate) key: String,
    pub(crate) directory: PathBuf,
    pub(crate) record: R,
}

impl<R: Record> Store<R> {
    /// The store below `root`; nothing is made before something is put in.
    pub(crate) fn new(root: PathBuf) -> Self {
        Store { root, records: PhantomData }
    }

    /// Where all of it is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What is kept under a key.
    pub(crate) fn get(&self, key: &str) -> Option<Stored<R>> {
        let directory = self.root.join(key);
        let record: R = serde_json::from_slice(&fs::read(directory.join(R::FILE)).ok()?).ok()?;
        // A person may have deleted files; whatever else is in the directory was there when it was named.
        let whole = record.is_whole(&directory);
        whole.then(|| Stored { key: key.to_owned(), directory, record })
    }

    /// All that is kept.
    pub(crate) fn all(&self) -> Vec<Stored<R>> {
        self.names().iter().filter(|name| !name.starts_with('.')).filter_map(|key| self.get(key)).collect()
    }

    /// Keeps a directory from being pruned as long as the result lives; `None` if it has been pruned already. Writes
    /// nothing.
    pub(crate) fn hold(&self, stored: &Stored<R>) -> Option<File> {
        let path = stored.directory.join(R::FILE);
        let file = File::open(&path).ok()?;
        // It fails where the file system knows no locks: then nothing holds anything.
        let _ = file.lock_shared();
        // A prune that was faster has removed the very file that is locked now.
        let same = fs::metadata(&path).ok()?.ino() == file.metadata().ok()?.ino();
        same.then_some(file)
    }

    /// Begins to fill a directory; waits while another process does. `waiting` is called once if so.
    ///
    /// What is there by then must be looked for again.
    pub(crate) fn begin(
        &self,
        key: &str,
        cancel: &AtomicBool,
        waiting: impl FnOnce(),
    ) -> Result<Work<'_, R>, file_lock::Error> {
        fs::create_dir_all(&self.root).map_err(FileError::of("create", &self.root))?;
        let lock = file_lock::wait(&self.lock_path(key), cancel, waiting)?;
        Ok(Work::new(self, key, lock))
    }

    /// Removes what `keep` does not name and nobody holds, and all that is half made and nobody's; gives names and bytes.
    pub(crate) fn prune(&self, keep: &[String]) -> Result<Vec<(PathBuf, u64)>, FileError> {
        let mut removed = Vec::new();
        for name in self.names() {
            let key = name.strip_prefix(WORK).unwrap_or(&name);
            let kept = name.starts_with(LOCK) || keep.contains(&name);
            if !kept && let Some(bytes) = self.remove(&name, key)? {
                removed.push((self.root.join(name), bytes));
            }
        }
        Ok(removed)
    }

    /// Removes half-made directories that were left long ago. Failing to is no reason to fail.
    pub(crate) fn sweep(&self, long: Duration) {
        for name in self.names() {
            let Some(key) = name.strip_prefix(WORK) else { continue };
            let modified = fs::metadata(self.root.join(&name)).and_then(|data| data.modified());
            let age = modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
            if age.is_some_and(|age| age > long) {
                let _ = self.remove(&name, key);
            }
        }
    }

    /// Removes a directory unless a process is at work on its key or uses it; gives its bytes.
    fn remove(&self, name: &str, key: &str) -> Result<Option<u64>, FileError> {
        let lock_path = self.lock_path(key);
        let lock = file_lock::open(&lock_path)?;
        let directory = self.root.join(name);
        let record_path = directory.join(R::FILE);
        // What has no record is not used.
        let record = File::open(&record_path).ok();
        let locks = [(Some(&lock), &lock_path), (record.as_ref(), &record_path)];
        for (file, path) in locks.into_iter().filter_map(|(file, path)| Some((file?, path))) {
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(FileError::of("lock", path)(error)),
            }
        }
        let bytes = size_of(&directory);
        clear::<R>(&directory)?;
        Ok(Some(bytes))
    }

    /// The lock file of a key. These stay, so that there is never a second one of a name.
    pub(crate) fn lock_path(&self, key: &str) -> PathBuf {
        self.root.join(format!("{LOCK}{key}"))
    }

    /// The names of all entries, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

/// Removes a directory with all that is in it, if it is there. Its record goes first: without, nobody believes the rest.
fn clear<R: Record>(directory: &Path) -> Result<(), FileError> {
    // If it cannot be removed, neither can the directory, and that is reported.
    let _ = fs::remove_file(directory.join(R::FILE));
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::of("remove", directory)(error))
        }
        _ => Ok(()),
    }
}

/// The bytes of all files below a directory.
fn size_of(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size_of(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}
