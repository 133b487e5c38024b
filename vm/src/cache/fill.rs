//! Directories that are filled step by step, with downloads that can be resumed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{Record, Store, Stored, WORK, clear};
use crate::host::FileError;

/// A directory to fill; only one process has it.
pub(crate) struct Work<'a, R> {
    store: &'a Store<R>,
    key: String,
    directory: PathBuf,
    _lock: File,
}

impl<'a, R: Record> Work<'a, R> {
    pub(super) fn new(store: &'a Store<R>, key: &str, lock: File) -> Self {
        let directory = store.root.join(format!("{WORK}{key}"));
        Self { store, key: key.to_owned(), directory, _lock: lock }
    }

    /// The directory for downloads. It stays if the work is interrupted: the next attempt resumes them.
    pub(crate) fn downloads(&self) -> Result<PathBuf, FileError> {
        let directory = self.directory.join("debs");
        fs::create_dir_all(&directory).map_err(FileError::of("create", &directory))?;
        Ok(directory)
    }

    /// The empty directory to fill.
    pub(crate) fn fill(&self) -> Result<Filling<'_, R>, FileError> {
        let directory = self.directory.join("new");
        clear::<R>(&directory)?;
        fs::create_dir_all(&directory).map_err(FileError::of("create", &directory))?;
        Ok(Filling { work: self, directory, bytes: 0 })
    }
}

/// A directory being filled.
pub(crate) struct Filling<'a, R> {
    work: &'a Work<'a, R>,
    directory: PathBuf,
    bytes: u64,
}

impl<R: Record> Filling<'_, R> {
    /// Its path until it is complete.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The bytes of all its files.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes a file, whose name may begin with a directory's.
    pub(crate) fn put(&mut self, name: &str, mut content: impl io::Read) -> Result<PathBuf, FileError> {
        let path = self.directory.join(name);
        let mut write = || -> io::Result<u64> {
            fs::create_dir_all(path.parent().unwrap_or(&self.directory))?;
            let mut file = File::create(&path)?;
            let count = io::copy(&mut content, &mut file)?;
            file.sync_all()?;
            Ok(count)
        };
        self.bytes += write().map_err(FileError::of("write", &path))?;
        Ok(path)
    }

    /// Writes the record, gives the directory its name, and removes the downloads.
    pub(crate) fn finish(mut self, record: &R) -> Result<Stored<R>, FileError> {
        let json = serde_json::to_vec_pretty(record).map_err(io::Error::other);
        self.put(R::FILE, &json.map_err(FileError::of("write", &self.directory))?[..])?;

        let (store, work) = (self.work.store, self.work);
        let target = store.root.join(&work.key);
        // A directory with that name is damaged or has another format; otherwise there would be nothing to fill.
        clear::<R>(&target)?;
        let rename = || -> io::Result<()> {
            for entry in fs::read_dir(&self.directory)?.flatten() {
                if entry.file_type()?.is_dir() {
                    sync_directory(&entry.path())?;
                }
            }
            sync_directory(&self.directory)?;
            fs::rename(&self.directory, &target)?;
            sync_directory(&store.root)
        };
        rename().map_err(FileError::of("write", &target))?;
        clear::<R>(&work.directory)?;
        let stored = store.get(&work.key);
        stored.ok_or_else(|| FileError::of("read", &target)(io::ErrorKind::NotFound.into()))
    }
}

/// Syncs the names in a directory.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
