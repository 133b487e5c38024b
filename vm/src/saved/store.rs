//! Saved machines on disk: a folder for each, whole or not there, with a limit on the room they take.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{Saved, memory};
use crate::host::{boot_id, digest, write_whole};

/// The form of what is kept; another one is not looked at.
const SCHEMA: u32 = 2;

const MEMORY: &str = "memory";
const STATE: &str = "state";
const RECORD: &str = "machine.json";
const CHECKED: &str = "checked.json";
const WORK: &str = ".work-";
const LOCK: &str = ".lock-";

/// A folder of saved machines.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    budget: u64,
}

/// What was written; itself written last. Its time of change is that of the last use.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    memory: String,
    state: String,
}

impl Record {
    fn of(saved: &Saved) -> io::Result<Self> {
        Ok(Self { memory: memory::digest(&saved.memory)?, state: memory::digest(&saved.state)? })
    }
}

/// Files whose digests were right: as long as they are these, and the host is up, they need not be read again, which
/// takes half as long as a resume.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Checked {
    boot: String,
    /// Number, size and time of the last change of each (stat(2): any write changes the last).
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

    fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(CHECKED)).ok()?).ok()
    }
}

impl Store {
    /// Saved machines below `cache`, on at most `budget` bytes of disk; nothing is made before one is kept.
    pub fn new(cache: &Path, budget: u64) -> Self {
        Self { root: cache.join("machines"), budget }
    }

    /// The name of a machine that is made of `parts`, which are all that it depends on.
    pub(crate) fn key(parts: &[&[u8]]) -> String {
        let with_length = |part: &&[u8]| [&(part.len() as u64).to_le_bytes(), *part].concat();
        let parts = std::iter::once(SCHEMA.to_le_bytes().to_vec()).chain(parts.iter().map(with_length));
        digest::hex(&digest::sha256(parts)[..12])
    }

    /// The lock file of all machines that are the same but for their initramfs: only one process makes such a one.
    /// These files stay, so that there is never a second one of a name.
    pub(crate) fn lock_path(&self, identity: &str) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.root)?;
        Ok(self.root.join(format!("{LOCK}{}", Self::key(&[identity.as_bytes()]))))
    }

    /// The machine with that name; one that is damaged is removed, and what was wrong with it returned.
    pub(crate) fn find(&self, key: &str) -> Result<Option<Saved>, String> {
        let folder = self.root.join(key);
        match read(&folder) {
            Ok(saved) => Ok(Some(saved)),
            Err(_) if !folder.exists() => Ok(None),
            Err(why) => {
                self.discard(key);
                Err(why)
            }
        }
    }

    /// Keeps a machine, and removes those that were not used for longest if there is no more room for all. What was
    /// removed while it is in use stays with those who use it. The caller holds the lock.
    pub(crate) fn keep(&self, key: &str, saved: &Saved) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let work = self.root.join(format!("{WORK}{key}"));
        // Left there by one that was killed.
        let _ = fs::remove_dir_all(&work);
        let written = write(&work, saved).and_then(|_lock| {
            self.discard(key);
            fs::rename(&work, self.root.join(key))
        });
        if written.is_err() {
            let _ = fs::remove_dir_all(&work);
        }
        written.and_then(|()| self.trim(key))
    }

    /// Removes a machine.
    pub(crate) fn discard(&self, key: &str) {
        // Renamed first, so that nobody finds a part of it. Fails where there is none.
        let _ = TempDir::with_prefix_in(WORK, &self.root)
            .and_then(|aside| fs::rename(self.root.join(key), aside.path().join(key)));
    }

    /// Removes machines until the rest is within the budget; never `newest`.
    fn trim(&self, newest: &str) -> io::Result<()> {
        let mut kept: Vec<(SystemTime, String, u64)> = Vec::new();
        for entry in fs::read_dir(&self.root)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(WORK) && is_stale(&entry.path()) {
                let _ = fs::remove_dir_all(entry.path());
            }
            if let Ok(record) = fs::metadata(entry.path().join(RECORD))
                && !name.starts_with('.')
            {
                let used = record.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                kept.push((used, name, room(&entry.path())));
            }
        }
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, _, room)| room).sum();
        for (_, name, room) in kept.iter().filter(|(_, name, _)| name != newest) {
            if total <= self.budget {
                break;
            }
            self.discard(name);
            total -= room;
        }
        Ok(())
    }
}

/// Writes a machine into a new folder, which is locked as long as what is returned lives.
fn write(folder: &Path, saved: &Saved) -> io::Result<File> {
    fs::create_dir(folder)?;
    let lock = File::open(folder)?;
    // Where there are no locks, its age must do.
    let _ = lock.try_lock();
    let record = Record {
        memory: memory::copy(&saved.memory, &File::create(folder.join(MEMORY))?)?,
        state: memory::copy(&saved.state, &File::create(folder.join(STATE))?)?,
    };
    // Not synced: whatever a crash of the host makes of it, its digest will tell.
    fs::write(folder.join(RECORD), serde_json::to_vec(&record)?)?;
    Ok(lock)
}

/// Opens a machine and makes sure that it is what was written.
fn read(folder: &Path) -> Result<Saved, String> {
    let read = || -> io::Result<(Saved, Record)> {
        let record = fs::read(folder.join(RECORD))?;
        let memory = open_memory(&folder.join(MEMORY))?;
        let saved = Saved { memory, state: File::open(folder.join(STATE))? };
        Ok((saved, serde_json::from_slice(&record)?))
    };
    let (saved, record) = read().map_err(|error| error.to_string())?;
    let now = Checked::of(&saved).map_err(|error| error.to_string())?;
    if Checked::read(folder).as_ref() != Some(&now) {
        let found = Record::of(&saved).map_err(|error| error.to_string())?;
        if found != record {
            return Err("it is not what was written".into());
        }
        // Where this cannot be kept, the next run checks again.
        let _ = serde_json::to_vec(&now).map(|json| write_whole(&folder.join(CHECKED), &json));
    }
    // Says when it was used last; where that cannot be written, it goes first.
    let _ = File::options()
        .append(true)
        .open(folder.join(RECORD))
        .and_then(|record| record.set_modified(SystemTime::now()));
    Ok(saved)
}

/// Opens memory for writing, as QEMU does, even where it does not write; where that may not be, a copy of it.
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
fn room(folder: &Path) -> u64 {
    let files = [MEMORY, STATE].map(|name| fs::metadata(folder.join(name)));
    files.into_iter().flatten().map(|metadata| metadata.blocks() * 512).sum()
}

/// Whether nobody goes on with a half-made folder: none takes as long as this to be made. Since the clock may jump, a lock
/// counts for more than an age.
fn is_stale(folder: &Path) -> bool {
    if File::open(folder).is_ok_and(|folder| matches!(folder.try_lock(), Err(TryLockError::WouldBlock))) {
        return false;
    }
    let age = fs::metadata(folder).and_then(|metadata| metadata.modified()).map(|made| made.elapsed());
    age.is_ok_and(|age| age.is_ok_and(|age| age.as_secs() > 600))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::time::Duration;

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
    fn what_was_kept_is_found_under_its_name_alone() {
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
    fn a_damaged_one_is_removed() {
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
            for name in [MEMORY, STATE, RECORD] {
                store.keep("a", &saved(b"one")).unwrap();
                damage(&store.root.join("a").join(name));
                assert!(store.find("a").is_err(), "{name}");
                assert!(!store.root.join("a").exists(), "{name}");
            }
        }
    }

    #[test]
    fn one_that_was_found_is_checked_again_once_it_has_changed() {
        let (_cache, store) = store(1 << 30);
        store.keep("a", &saved(b"one")).unwrap();
        assert!(is_found(&store, "a"));
        let checked = Checked::read(&store.root.join("a")).unwrap();
        assert!(is_found(&store, "a"));
        let file = File::options().write(true).open(store.root.join("a").join(MEMORY)).unwrap();
        // The clock of a file system goes in steps (timer ticks of the kernel's).
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while Checked::of(&store_files(&store)).unwrap() == checked {
            assert!(std::time::Instant::now() < deadline);
            file.write_all_at(b"two", 4096).unwrap();
        }
        assert!(store.find("a").is_err());
    }

    #[test]
    fn what_was_checked_before_the_host_booted_does_not_count() {
        let (_cache, store) = store(1 << 30);
        store.keep("a", &saved(b"one")).unwrap();
        let folder = store.root.join("a");
        File::options().write(true).open(folder.join(MEMORY)).unwrap().write_all_at(b"two", 4096).unwrap();
        let now = Checked::of(&store_files(&store)).unwrap();
        let before = Checked { boot: "another".into(), ..now };
        fs::write(folder.join(CHECKED), serde_json::to_vec(&before).unwrap()).unwrap();
        assert!(store.find("a").is_err());
    }

    fn store_files(store: &Store) -> Saved {
        let open = |name| File::open(store.root.join("a").join(name)).unwrap();
        Saved { memory: open(MEMORY), state: open(STATE) }
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let (_cache, store) = store(2 * room_of_one());
        for (key, age) in [("old", 50), ("used", 90), ("new", 10)] {
            if key == "new" {
                assert!(is_found(&store, "used"));
            }
            store.keep(key, &saved(&[1; 9000])).unwrap();
            let record = File::options().append(true).open(store.root.join(key).join(RECORD)).unwrap();
            record.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        assert_eq!(["old", "used", "new"].map(|key| is_found(&store, key)), [false, true, true]);
    }

    #[test]
    fn the_newest_stays_even_if_it_is_too_large_and_what_a_killed_run_left_goes() {
        let (_cache, store) = store(1);
        let left = [store.root.join(".work-a"), store.root.join(".work-b")];
        left.iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
        let long_ago = SystemTime::now() - Duration::from_secs(700);
        File::open(&left[1]).unwrap().set_modified(long_ago).unwrap();
        store.keep("a", &saved(b"one")).unwrap();
        assert!(is_found(&store, "a"));
        assert!(left.iter().all(|folder| !folder.exists()));
    }

    #[test]
    fn what_another_run_is_making_stays_whatever_the_clock_says() {
        let (_cache, store) = store(1);
        fs::create_dir_all(&store.root).unwrap();
        let making = store.root.join(".work-b");
        let lock = write(&making, &saved(b"one")).unwrap();
        lock.set_modified(SystemTime::now() - Duration::from_secs(700)).unwrap();
        store.keep("a", &saved(b"two")).unwrap();
        assert!(making.exists());
        drop(lock);
        store.keep("a", &saved(b"three")).unwrap();
        assert!(!making.exists());
    }

    fn room_of_one() -> u64 {
        let (_cache, store) = store(u64::MAX);
        store.keep("a", &saved(&[1; 9000])).unwrap();
        room(&store.root.join("a"))
    }
}
