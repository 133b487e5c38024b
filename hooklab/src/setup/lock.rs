//! One run at a time sets up a thing in the cache.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use hooklab_vm::event::{Event, Observer};

use crate::lab::Lab;

/// How often a lock that another run holds is tried.
const INTERVAL: Duration = Duration::from_millis(100);

/// Makes `directory` and waits until no other run works in it. The system lets go of the lock with the file that comes
/// back, however this process ends.
pub fn hold(lab: &Lab, directory: &Path, observer: &dyn Observer) -> Result<File> {
    fs::create_dir_all(directory).with_context(|| format!("failed to make {}", directory.display()))?;
    let path = directory.join("lock");
    let lock = File::create(&path).with_context(|| format!("failed to write {}", path.display()))?;
    let mut told = false;
    while lock.try_lock().is_err() {
        lab.check_interrupt()?;
        if !std::mem::replace(&mut told, true) {
            observer.notify(Event::Step(format!(
                "waiting for another run that works in {}",
                directory.display()
            )));
        }
        std::thread::sleep(INTERVAL);
    }
    Ok(lock)
}
