//! Where things are, and how the work is stopped.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hooklab_vm::saved::Store;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::exit::{INTERRUPTED, Interrupted, UsageError};

/// Room for saved machines, in MiB: each takes about 90.
const SAVED_MIB: u32 = 4096;

/// How long a run may take to end after a signal. One that writes to a terminal which takes nothing would never.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// What every command needs to know.
pub(crate) struct Lab {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// What survives `cargo clean`: kernels, virtme-ng, findings.
    pub(crate) cache: PathBuf,
    /// What does not: objects, logs, the guest's binaries.
    pub(crate) target: PathBuf,
    /// Set when the user has interrupted the run.
    pub(crate) cancelled: Arc<AtomicBool>,
}

impl Lab {
    /// Finds the folders and takes charge of the signals that end a run.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let cache = match std::env::var_os("HOOKLAB_CACHE").filter(|value| !value.is_empty()) {
            Some(cache) => std::path::absolute(&cache).context("failed to use HOOKLAB_CACHE")?,
            None => match dirs::cache_dir() {
                Some(folder) => folder.join("hooklab"),
                None => bail!("failed to find your cache folder: set HOME, XDG_CACHE_HOME or HOOKLAB_CACHE"),
            },
        };
        let cancelled = Arc::new(AtomicBool::new(false));
        take_charge_of_signals(&cancelled).context("failed to take charge of signals")?;
        Ok(Self { root, cache, target: std::path::absolute(target)?, cancelled })
    }

    /// What the lab makes for itself in the target folder.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.target.join("hooklab")
    }

    /// Where saved machines are, and how much room they may take.
    pub(crate) fn saved(&self) -> Result<Store> {
        let mib = match std::env::var("HOOKLAB_SAVED_MIB").ok().filter(|value| !value.is_empty()) {
            None => SAVED_MIB,
            Some(value) => value.parse::<u32>().map_err(|_| {
                UsageError(format!("HOOKLAB_SAVED_MIB is {value:?}: it must be a number of MiB"))
            })?,
        };
        Ok(Store::new(&self.cache, u64::from(mib) << 20))
    }

    /// An error once the user has interrupted the run.
    pub(crate) fn check_interrupt(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Interrupted.into()) } else { Ok(()) }
    }
}

/// The first signal asks the run to end; the second, or long patience, ends it at once. Machines die with it.
fn take_charge_of_signals(cancelled: &Arc<AtomicBool>) -> io::Result<()> {
    let signals = [SIGINT, SIGTERM, SIGHUP];
    for signal in signals {
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(cancelled))?;
        flag::register(signal, Arc::clone(cancelled))?;
    }
    let mut first = Signals::new(signals)?;
    thread::spawn(move || {
        if first.forever().next().is_some() {
            thread::sleep(LAST_PATIENCE);
            low_level::exit(INTERRUPTED.into());
        }
    });
    Ok(())
}
