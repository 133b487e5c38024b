//! The cache: one folder for each kernel, complete by construction.
//!
//! A folder is filled aside and renamed, so that one which is there is whole. A lock file for each key makes sure that
//! only one process fills it; the system releases it with its holder, however that ends. Who uses a folder holds a shared
//! lock on its record, so that nobody prunes it meanwhile; that writes nothing.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::image::Module;
use crate::host::{FileError, file_lock};

/// The schema of [`Record`]; a folder with another one is made anew.
const SCHEMA: u32 = 1;

/// Half-made folders older than this are swept: nobody goes on with them any more.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

const IMAGE: &str = "vmlinuz";
const CONFIG: &str = "config";
const MODULES: &str = "modules";
const RECORD: &str = "kernel.json";
const WORK: &str = ".work-";
const LOCK: &str = ".lock-";

/// A folder of kernels or of parts of them.
pub(super) struct Store {
    root: PathBuf,
}

/// What is in a folder of the store; written last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    schema: u32,
    /// What `uname -r` prints.
    pub(super) release: String,
    /// Debian's version, if it comes from there.
    pub(super) version: Option<String>,
    image: bool,
    config: bool,
    /// File names in load order.
    modules: Vec<String>,
    /// Of all files.
    pub(super) bytes: u64,
}

/// A folder of the store.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) key: String,
    folder: PathBuf,
    pub(super) record: Record,
}

impl Stored {
    /// The kernel image.
    pub(super) fn image(&self) -> PathBuf {
        self.folder.join(IMAGE)
    }

    /// The config, if there is one.
    pub(super) fn config(&self) -> Option<PathBuf> {
        self.record.config.then(|| self.folder.join(CONFIG))
    }

    /// The modules in load order.
    pub(super) fn modules(&self) -> Vec<PathBuf> {
        self.record.modules.iter().map(|name| self.folder.join(MODULES).join(name)).collect()
    }
}

/// A folder that is being filled; only one process has it.
pub(super) struct Work<'a> {
    store: &'a Store,
    key: String,
    folder: PathBuf,
    _lock: File,
}

impl Store {
    /// The store below `root`; nothing is made before something is put in.
    pub(super) fn new(root: PathBuf) -> Self {
        Store { root }
    }

    /// What is kept under a key.
    pub(super) fn get(&self, key: &str) -> Option<Stored> {
        let folder = self.root.join(key);
        let record: Record = serde_json::from_slice(&fs::read(folder.join(RECORD)).ok()?).ok()?;
        let stored = Stored { key: key.to_owned(), folder, record };
        // A person may have deleted files; whatever else is in the folder was there when it was named.
        let whole = stored.record.schema == SCHEMA && (!stored.record.image || stored.image().exists());
        whole.then_some(stored)
    }

    /// Keeps a folder from being pruned as long as the result lives; `None` if it has been pruned already.
    pub(super) fn hold(&self, stored: &Stored) -> Option<File> {
        let path = stored.folder.join(RECORD);
        let file = File::open(&path).ok()?;
        // It fails where the file system knows no locks: then nothing holds anything.
        let _ = file.lock_shared();
        // A prune that was faster has removed the very file that is locked now.
        let same = fs::metadata(&path).ok()?.ino() == file.metadata().ok()?.ino();
        same.then_some(file)
    }

    /// All that is kept.
    pub(super) fn all(&self) -> Vec<Stored> {
        self.names().iter().filter(|name| !name.starts_with('.')).filter_map(|key| self.get(key)).collect()
    }

    /// Begins to fill a folder; waits while another process does. `waiting` is called once if so.
    ///
    /// What is there by then must be looked for again.
    pub(super) fn begin(
        &self,
        key: &str,
        cancel: &AtomicBool,
        waiting: impl FnOnce(),
    ) -> Result<Work<'_>, Error> {
        fs::create_dir_all(&self.root).map_err(FileError::of("create", &self.root))?;
        let lock = file_lock::wait(&self.root.join(format!("{LOCK}{key}")), cancel, waiting)?;
        let folder = self.root.join(format!("{WORK}{key}"));
        Ok(Work { store: self, key: key.to_owned(), folder, _lock: lock })
    }

    /// Removes what `keep` does not name and nobody holds, and all that is half made and nobody's; gives names and bytes.
    pub(super) fn prune(&self, keep: &[String]) -> Result<Vec<(PathBuf, u64)>, Error> {
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

    /// Removes half-made folders that were left long ago. Failing to is no reason to fail.
    pub(super) fn sweep(&self) {
        for name in self.names() {
            let Some(key) = name.strip_prefix(WORK) else { continue };
            let modified = fs::metadata(self.root.join(&name)).and_then(|data| data.modified());
            let age = modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
            if age.is_some_and(|age| age > STALE) {
                let _ = self.remove(&name, key);
            }
        }
    }

    /// Removes a folder unless a process is at work on its key or uses it; gives its bytes.
    fn remove(&self, name: &str, key: &str) -> Result<Option<u64>, Error> {
        let lock_path = self.root.join(format!("{LOCK}{key}"));
        let lock = file_lock::open(&lock_path)?;
        let folder = self.root.join(name);
        let record_path = folder.join(RECORD);
        // What has no record is not used.
        let record = File::open(&record_path).ok();
        let locks = [(Some(&lock), &lock_path), (record.as_ref(), &record_path)];
        for (file, path) in locks.into_iter().filter_map(|(file, path)| Some((file?, path))) {
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(FileError::of("lock", path)(error).into()),
            }
        }
        let bytes = size_of(&folder);
        discard(&folder)?;
        Ok(Some(bytes))
    }

    /// The names of all entries, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

impl Work<'_> {
    /// The folder for downloads; it stays if the work breaks off, so that the next try goes on with them.
    pub(super) fn downloads(&self) -> Result<PathBuf, Error> {
        let folder = self.folder.join("debs");
        fs::create_dir_all(&folder).map_err(FileError::of("create", &folder))?;
        Ok(folder)
    }

    /// The empty folder to fill.
    pub(super) fn start(&self) -> Result<Filling<'_>, Error> {
        let folder = self.folder.join("new");
        discard(&folder)?;
        fs::create_dir_all(folder.join(MODULES)).map_err(FileError::of("create", &folder))?;
        let record = Record {
            schema: SCHEMA,
            release: String::new(),
            version: None,
            image: false,
            config: false,
            modules: Vec::new(),
            bytes: 0,
        };
        Ok(Filling { work: self, folder, record })
    }
}

/// What is being put together.
pub(super) struct Filling<'a> {
    work: &'a Work<'a>,
    folder: PathBuf,
    record: Record,
}

impl Filling<'_> {
    /// Puts the image in.
    pub(super) fn image(&mut self, content: impl io::Read) -> Result<PathBuf, Error> {
        self.record.image = true;
        self.put(IMAGE, content)
    }

    /// Puts the config in.
    pub(super) fn config(&mut self, content: impl io::Read) -> Result<PathBuf, Error> {
        self.record.config = true;
        self.put(CONFIG, content)
    }

    /// Puts the modules in, in load order.
    pub(super) fn modules(&mut self, modules: &[Module]) -> Result<(), Error> {
        for (index, module) in modules.iter().enumerate() {
            let name = format!("{index:02}-{}.ko", module.name);
            self.put(&format!("{MODULES}/{name}"), &module.content[..])?;
            self.record.modules.push(name);
        }
        Ok(())
    }

    /// Whether the image is in.
    pub(super) fn has_image(&self) -> bool {
        self.record.image
    }

    /// Whether the config is in.
    pub(super) fn has_config(&self) -> bool {
        self.record.config
    }

    /// Where the config is, if it is in.
    pub(super) fn config_path(&self) -> Option<PathBuf> {
        self.record.config.then(|| self.folder.join(CONFIG))
    }

    fn put(&mut self, name: &str, mut content: impl io::Read) -> Result<PathBuf, Error> {
        let path = self.folder.join(name);
        let mut write = || -> io::Result<u64> {
            let mut file = File::create(&path)?;
            let count = io::copy(&mut content, &mut file)?;
            file.sync_all()?;
            Ok(count)
        };
        self.record.bytes += write().map_err(FileError::of("write", &path))?;
        Ok(path)
    }

    /// Gives the folder its name, and drops the downloads.
    pub(super) fn finish(mut self, release: &str, version: Option<&str>) -> Result<Stored, Error> {
        self.record.release = release.to_owned();
        self.record.version = version.map(str::to_owned);
        let record = serde_json::to_vec_pretty(&self.record).map_err(io::Error::other);
        let record = record.map_err(FileError::of("write", &self.folder))?;
        self.put(RECORD, &record[..])?;

        let (store, work) = (self.work.store, self.work);
        let target = store.root.join(&work.key);
        // What has that name is damaged or of another schema, or there would have been no work to do.
        discard(&target)?;
        let rename = || -> io::Result<()> {
            sync_folder(&self.folder.join(MODULES))?;
            sync_folder(&self.folder)?;
            fs::rename(&self.folder, &target)?;
            sync_folder(&store.root)
        };
        rename().map_err(FileError::of("write", &target))?;
        discard(&work.folder)?;
        let stored = store.get(&work.key);
        Ok(stored.ok_or_else(|| FileError::of("read", &target)(io::ErrorKind::NotFound.into()))?)
    }
}

/// Makes the names in a folder last.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a folder with all that is in it, if it is there. Its record goes first: without, nobody believes the rest.
fn discard(folder: &Path) -> Result<(), Error> {
    // If it cannot be removed, neither can the folder, and that is reported.
    let _ = fs::remove_file(folder.join(RECORD));
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::of("remove", folder)(error).into())
        }
        _ => Ok(()),
    }
}

/// The bytes of all files below a folder.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size_of(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
