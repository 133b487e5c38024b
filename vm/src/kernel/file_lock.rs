//! Lock files between processes; the system releases a lock with its holder, however that ends.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::error::Error;

/// Waits for a lock; another process that has it is waited for until it ends or `cancel` is set.
pub(crate) fn wait(path: &Path, cancel: &AtomicBool, waiting: impl FnOnce()) -> Result<File, Error> {
    let file = open(path)?;
    let mut waiting = Some(waiting);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path)(error)),
            Err(TryLockError::WouldBlock) => {}
        }
        if let Some(waiting) = waiting.take() {
            waiting();
        }
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Opens a lock file. These stay for ever: deleting one would let two processes lock two files of the same name.
pub(super) fn open(path: &Path) -> Result<File, Error> {
    let file = File::options().create(true).append(true).open(path);
    file.map_err(Error::io("write", path))
}
