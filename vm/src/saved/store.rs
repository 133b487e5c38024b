//! Saved machines on disk: a directory for each, with a limit on the space that they take.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Saved, memory};
use crate::cache::{self, Record as _};
use crate::host::{FileError, boot_id, digest, write_whole};

/// The format of saved machines; those of another one are not found.
const SCHEMA: u32 = 3;

const MEMORY: &str = "memory";
const STATE: &str = "state";
const CHECKED: &str = "checked.json";

/// Why a machine cannot be stored or found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its record is damaged.
    #[error("failed to parse {}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: serde_json::Error,
    },
    /// Its files have changed.
    #[error("the files in {} are damaged: their digests are wrong", .0.display())]
    Damaged(PathBuf),
}

/// Saved machines.
#[derive(Debug)]
pub struct Store {
    machines: cache::Store<Record>,
    budget: u64,
}

/// The digests of a machine's files. The record's time of modification is that of the last use.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    memory: String,
    state: String,
}

impl cache::Record for Record {
    const FILE: &'static str = "machine.json";

    fn is_whole(&self, directory: &Path) -> bool {
        [MEMORY, STATE].iter().all(|name| directory.join(name).exists())
    }
}

impl Record {
    fn of(saved: &Saved) -> io::Result<Self> {
        Ok(Self { memory: memory::digest(&saved.memory)?, state: memory::digest(&saved.state)? })
    }
}

/// Files whose digests were right: as long as they do not change, and the host does not boot, they need not be read again,
/// which takes half as long as a restore.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Checked {
    boot: String,
    /// Inode number, size and time of the last change of each (stat(2): any write changes the latter).
    files: [(u64, u64, i64, i64); 2],
}

impl Checked {
    fn of(saved: &Saved) -> io::Result<Self> {
        let file = |file: &File| -> io::Result<_> {
            let now = file.metadata()?;
            Ok((now.ino(), now.len(), now.ctime(), now.ctime_nsec()))
        };
        Ok(Self { boot: boot_id(), files: [file(&saved.memory)?, file(&saved.state)?] })
    }

    fn read(directory: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(directory.join(CHECKED)).ok()?).ok()
    }
}

impl Store {
    /// Saved machines below `cache`, on at most `budget` bytes of disk. Creates nothing before one is stored.
    pub fn new(cache: &Path, budget: u64) -> Self {
        Self { machines: cache::Store::new(cache.join("machines")), budget }
    }

    /// The key of a machine: `parts` are all that it depends on.
    pub(crate) fn key(parts: &[&[u8]]) -> String {
        let with_length = |part: &&[u8]| [&(part.len() as u64).to_le_bytes(), *part].concat();
        let parts = std::iter::once(SCHEMA.to_le_bytes().to_vec()).chain(parts.iter().map(with_length));
        digest::hex(&digest::sha256(parts)[..12])
    }

    /// The lock file of all machines that differ in their initramfs only: one process at a time boots such a one.
    pub(crate) fn lock_path(&self, identity: &str) -> io::Result<PathBuf> {
        fs::create_dir_all(self.machines.root())?;
        Ok(self.machines.lock_path(&Self::key(&[identity.as_bytes()])))
    }

    /// Opens the machine with that key. Removes it if it is damaged.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn find(&self, key: &str) -> Result<Option<Saved>, Error> {
        let directory = self.machines.root().join(key);
        match read(&directory) {
            Ok(saved) => {
                self.machines.touch(key);
                Ok(Some(saved))
            }
            Err(_) if !directory.exists() => Ok(None),
            Err(error) => {
                self.discard(key);
                Err(error)
            }
        }
    }

    /// Stores a machine, and removes the least recently used ones beyond the limit. Processes that use a removed machine keep
    /// it open. The caller holds the lock.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn keep(&self, key: &str, saved: &Saved) -> Result<(), Error> {
        // If the host crashes, the digests tell whether the files are complete.
        let stored = self.machines.replace(key, |directory| write(directory, saved));
        let trimmed = stored.and_then(|()| self.machines.trim(self.budget, key, disk_space));
        Ok(trimmed.map_err(FileError::of("write", &self.machines.root().join(key)))?)
    }

    /// Removes a machine.
    pub(crate) fn discard(&self, key: &str) {
        self.machines.discard(key);
    }
}

/// Writes a machine into a directory.
fn write(directory: &Path, saved: &Saved) -> io::Result<Record> {
    Ok(Record {
        memory: memory::copy(&saved.memory, &File::create(directory.join(MEMORY))?)?,
        state: memory::copy(&saved.state, &File::create(directory.join(STATE))?)?,
    })
}

/// Opens a machine and checks that its files have not changed.
fn read(directory: &Path) -> Result<Saved, Error> {
    let path = directory.join(Record::FILE);
    let record = fs::read(&path).map_err(FileError::of("read", &path))?;
    let record: Record = serde_json::from_slice(&record).map_err(|source| Error::Record { path, source })?;
    let files = || -> io::Result<(Saved, Checked)> {
        let memory = open_memory(&directory.join(MEMORY))?;
        let saved = Saved { memory, state: File::open(directory.join(STATE))? };
        let now = Checked::of(&saved)?;
        Ok((saved, now))
    };
    let (saved, now) = files().map_err(FileError::of("read", directory))?;
    if Checked::read(directory).as_ref() != Some(&now) {
        if Record::of(&saved).map_err(FileError::of("read", directory))? != record {
            return Err(Error::Damaged(directory.to_owned()));
        }
        // If this cannot be written, the next run checks again.
        let _ = serde_json::to_vec(&now).map(|json| write_whole(&directory.join(CHECKED), &json));
    }
    Ok(saved)
}

/// Opens memory for writing, since QEMU does so even for a private mapping; if that is forbidden, a copy of it.
fn open_memory(path: &Path) -> io::Result<File> {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    match File::options().read(true).write(true).open(path) {
        Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) => {
            let copy = memory::unnamed()?;
            memory::copy(&File::open(path)?, &copy)?;
            Ok(copy)
        }
        opened => opened,
    }
}

/// Bytes on disk.
fn disk_space(directory: &Path) -> u64 {
    let files = [MEMORY, STATE].map(|name| fs::metadata(directory.join(name)));
    files.into_iter().flatten().map(|metadata| metadata.blocks() * 512).sum()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::time::{Duration, SystemTime};

    use tempfile::TempDir;

    use super::*;

    fn saved(content: &[u8]) -> Saved {
        let [memory, state] = [memory::unnamed().unwrap(), memory::unnamed().unwrap()];
        memory.write_all_at(content, 4096).unwrap();
        state.write_all_at(b"state", 0).unwrap();
        Saved { memory, state }
    }

    fn store(budget: u64) -> (TempDir, Store) {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path(), budget);
        (cache, store)
    }

    fn is_found(store: &Store, key: &str) -> bool {
        store.find(key).unwrap().is_some()
    }

    #[test]
    fn a_machine_is_found_by_its_key_only() {
        let (_cache, store) = store(1 << 30);
        assert!(!is_found(&store, "a"));
        store.keep("a", &saved(b"one")).unwrap();
        store.keep("a", &saved(b"two")).unwrap();
        let found = store.find("a").unwrap().unwrap();
        let mut content = [0; 3];
        found.memory.read_exact_at(&mut content, 4096).unwrap();
        assert_eq!(&content, b"two");
        assert!(!is_found(&store, "b"));
        store.discard("a");
        assert!(!is_found(&store, "a"));
    }

    #[test]
    fn a_damaged_machine_is_removed() {
        let (_cache, store) = store(1 << 30);
        let flip = |path: &Path| {
            let file = File::options().read(true).write(true).open(path).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, 1).unwrap();
            file.write_all_at(&[byte[0] ^ 1], 1).unwrap();
        };
        let cut = |path: &Path| File::options().write(true).open(path).unwrap().set_len(2).unwrap();
        let remove = |path: &Path| fs::remove_file(path).unwrap();
        for damage in [&flip as &dyn Fn(&Path), &cut, &remove] {
            for name in [MEMORY, STATE, Record::FILE] {
                store.keep("a", &saved(b"one")).unwrap();
                damage(&store.machines.root().join("a").join(name));
                assert!(store.find("a").is_err(), "{name}");
                assert!(!store.machines.root().join("a").exists(), "{name}");
            }
        }
    }

    #[test]
    fn a_machine_is_checked_again_once_it_has_changed() {
        let (_cache, store) = store(1 << 30);
        store.keep("a", &saved(b"one")).unwrap();
        assert!(is_found(&store, "a"));
        let checked = Checked::read(&store.machines.root().join("a")).unwrap();
        assert!(is_found(&store, "a"));
        let file = File::options().write(true).open(store.machines.root().join("a").join(MEMORY)).unwrap();
        // The clock of a file system goes in steps (timer ticks of the kernel's).
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while Checked::of(&store_files(&store)).unwrap() == checked {
            assert!(std::time::Instant::now() < deadline);
            file.write_all_at(b"two", 4096).unwrap();
        }
        assert!(store.find("a").is_err());
    }

    #[test]
    fn a_check_from_before_the_hosts_last_boot_is_ignored() {
        let (_cache, store) = store(1 << 30);
        store.keep("a", &saved(b"one")).unwrap();
        let directory = store.machines.root().join("a");
        File::options().write(true).open(directory.join(MEMORY)).unwrap().write_all_at(b"two", 4096).unwrap();
        let now = Checked::of(&store_files(&store)).unwrap();
        let before = Checked { boot: "another".into(), ..now };
        fs::write(directory.join(CHECKED), serde_json::to_vec(&before).unwrap()).unwrap();
        assert!(store.find("a").is_err());
    }

    fn store_files(store: &Store) -> Saved {
        let open = |name| File::open(store.machines.root().join("a").join(name)).unwrap();
        Saved { memory: open(MEMORY), state: open(STATE) }
    }

    #[test]
    fn the_least_recently_used_machine_is_removed_first() {
        let (_cache, store) = store(2 * size_of_one());
        for (key, age) in [("old", 50), ("used", 90), ("new", 10)] {
            if key == "new" {
                assert!(is_found(&store, "used"));
            }
            store.keep(key, &saved(&[1; 9000])).unwrap();
            let record = File::options()
                .append(true)
                .open(store.machines.root().join(key).join(Record::FILE))
                .unwrap();
            record.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        assert_eq!(["old", "used", "new"].map(|key| is_found(&store, key)), [false, true, true]);
    }

    #[test]
    fn the_newest_stays_even_if_it_is_too_large_and_leftovers_are_removed() {
        let (_cache, store) = store(1);
        let left = [store.machines.root().join(".work-a"), store.machines.root().join(".work-b")];
        left.iter().for_each(|directory| fs::create_dir_all(directory).unwrap());
        let long_ago = SystemTime::now() - Duration::from_secs(700);
        File::open(&left[1]).unwrap().set_modified(long_ago).unwrap();
        store.keep("a", &saved(b"one")).unwrap();
        assert!(is_found(&store, "a"));
        assert!(left.iter().all(|directory| !directory.exists()));
    }

    #[test]
    fn a_machine_in_the_making_stays_whatever_the_clock_says() {
        let (_cache, store) = store(1);
        fs::create_dir_all(store.machines.root()).unwrap();
        let making = store.machines.root().join(".work-b");
        let lock = cache::make(&making, |directory| write(directory, &saved(b"one"))).unwrap();
        lock.set_modified(SystemTime::now() - Duration::from_secs(700)).unwrap();
        store.keep("a", &saved(b"two")).unwrap();
        assert!(making.exists());
        drop(lock);
        store.keep("a", &saved(b"three")).unwrap();
        assert!(!making.exists());
    }

    fn size_of_one() -> u64 {
        let (_cache, store) = store(u64::MAX);
        store.keep("a", &saved(&[1; 9000])).unwrap();
        disk_space(&store.machines.root().join("a"))
    }
}
