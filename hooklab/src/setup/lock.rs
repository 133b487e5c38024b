//! One run at a time sets up a thing in the cache.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use hooklab_vm::event::{Event, Observer};
use hooklab_vm::host::file_lock;

use crate::lab::Lab;

/// Makes `directory` and waits until no other run works in it. The system releases the lock with the file that comes
/// back, however this process ends.
///
/// # Errors
/// The directory or the lock cannot be made, or the user has interrupted the run.
pub fn hold(lab: &Lab, directory: &Path, observer: &dyn Observer) -> Result<File> {
    fs::create_dir_all(directory).with_context(|| format!("failed to make {}", directory.display()))?;
    let waiting = || {
        let text = format!("waiting for another run that works in {}", directory.display());
        observer.notify(Event::Step(text));
    };
    let lock = file_lock::wait(&directory.join("lock"), &lab.cancelled, waiting);
    lab.check_interrupt()?;
    Ok(lock?)
}
