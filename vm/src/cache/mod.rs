//! Stores of directories that are complete or absent.
//!
//! A directory is filled under another name, gets its record last, and is renamed: one that has a record under its own name
//! is complete. A process that fills one holds a lock, which the kernel releases when that process ends.

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

/// Prefix of the names of incomplete directories, before the key.
pub(crate) const WORK: &str = ".work-";

/// Prefix of the names of lock files, before the key.
pub(crate) const LOCK: &str = ".lock-";

/// The description of a directory in a store; written last.
pub(crate) trait Record: Serialize + DeserializeOwned {
    /// The name of its file.
    const FILE: &'static str;

    /// Whether it has the current format, and the directory still has all that it describes.
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
    /// The store below `root`. Creates nothing before something is stored.
    pub(crate) fn new(root: PathBuf) -> Self {
        Store { root, records: PhantomData }
    }

    /// The directory of the store.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The complete directory of a key.
    pub(crate) fn get(&self, key: &str) -> Option<Stored<R>> {
        let directory = self.root.join(key);
        let record: R = serde_json::from_slice(&fs::read(directory.join(R::FILE)).ok()?).ok()?;
        // A user may have deleted files; the rest was there when the directory got its name.
        let whole = record.is_whole(&directory);
        whole.then(|| Stored { key: key.to_owned(), directory, record })
    }

    /// All complete directories.
    pub(crate) fn all(&self) -> Vec<Stored<R>> {
        self.names().iter().filter(|name| !name.starts_with('.')).filter_map(|key| self.get(key)).collect()
    }

    /// Protects a directory from pruning as long as the result lives; `None` if it has been pruned already. Writes nothing.
    pub(crate) fn hold(&self, stored: &Stored<R>) -> Option<File> {
        let path = stored.directory.join(R::FILE);
        let file = File::open(&path).ok()?;
        // It fails on file systems without locks: nothing is protected there.
        let _ = file.lock_shared();
        // Another process may have pruned the file before it was locked.
        let same = fs::metadata(&path).ok()?.ino() == file.metadata().ok()?.ino();
        same.then_some(file)
    }

    /// Begins to fill a directory; waits while another process does, and calls `waiting` once if so.
    ///
    /// The other process may have completed it: look for it again.
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

    /// Removes the directories that are neither in `keep` nor in use, and the incomplete ones that no process fills; returns
    /// names and bytes.
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

    /// Removes incomplete directories of long ago, and ignores errors.
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

    /// Removes a directory unless a process fills its key or uses it; returns its bytes.
    fn remove(&self, name: &str, key: &str) -> Result<Option<u64>, FileError> {
        let lock_path = self.lock_path(key);
        let lock = file_lock::open(&lock_path)?;
        let directory = self.root.join(name);
        let record_path = directory.join(R::FILE);
        // A directory without a record is not in use.
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

    /// The lock file of a key. Lock files are never deleted.
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

/// Removes a directory, if it exists. Its record goes first: without it, the rest counts as incomplete.
fn clear<R: Record>(directory: &Path) -> Result<(), FileError> {
    // If it cannot be removed, neither can the directory, which is an error.
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
