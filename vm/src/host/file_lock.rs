//! Lock files between processes. The kernel releases a lock when its holder ends, for whatever reason.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::FileError;

/// Interval at which a lock that another process holds is retried.
const INTERVAL: Duration = Duration::from_millis(50);

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or locked.
    #[error(transparent)]
    File(#[from] FileError),
    /// Someone asked to stop.
    #[error("interrupted while waiting for another process")]
    Cancelled,
}

/// Takes a lock; waits while another process holds it, until `cancel` is set. Calls `waiting` once if it has to wait.
///
/// # Errors
/// If the file cannot be opened or locked, or `cancel` was set.
pub fn wait(path: &Path, cancel: &AtomicBool, waiting: impl FnOnce()) -> Result<File, Error> {
    let file = open(path)?;
    let mut waiting = Some(waiting);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(FileError::of("lock", path)(error).into()),
            Err(TryLockError::WouldBlock) => {}
        }
        if let Some(waiting) = waiting.take() {
            waiting();
        }
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        thread::sleep(INTERVAL);
    }
}

/// Opens a lock file. Lock files are never deleted: otherwise two processes could lock two files of the same name.
///
/// # Errors
/// If it cannot be opened.
pub fn open(path: &Path) -> Result<File, FileError> {
    File::options().create(true).append(true).open(path).map_err(FileError::of("write", path))
}
