//! Where things are, what runs in guests, and how the work is stopped.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hooklab_vm::event::Observer;
use hooklab_vm::saved::Store;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::exit::{INTERRUPTED, Interrupted, UsageError};
use crate::project::Project;

/// Quota of saved machines, in MiB: each takes about 90.
const SAVED_MIB: u32 = 4096;

/// How long a run may take to end after a signal. One that writes to a terminal which takes nothing would never.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// What every command needs to know.
pub struct Lab {
    /// The kernels and settings that hold here.
    pub project: Project,
    /// What survives `cargo clean`: kernels, virtme-ng, findings, saved machines.
    pub cache: PathBuf,
    /// What does not: objects, packages, the consoles' logs.
    pub work: PathBuf,
    /// The programs that go into guests.
    pub guest_half: Box<dyn GuestHalf + Sync>,
    /// Set when the user has interrupted the run.
    pub cancelled: Arc<AtomicBool>,
}

/// Gives the programs that the lab sends into guests.
pub trait GuestHalf {
    /// What it takes to have them, beside Rust.
    fn needs(&self) -> &'static [Need];

    /// The programs; builds what is missing.
    ///
    /// # Errors
    /// They are not there, or cannot be built.
    fn programs(&self, lab: &Lab, observer: &dyn Observer) -> Result<GuestPrograms>;

    /// What packs objects; it runs on the host.
    ///
    /// # Errors
    /// It is not there, or cannot be built.
    fn packager(&self, lab: &Lab, observer: &dyn Observer) -> Result<PathBuf>;
}

/// The programs that the lab sends into guests; each a static program, or a dynamic one of this host.
#[derive(Debug, Clone)]
pub struct GuestPrograms {
    /// PID 1 of a guest.
    pub agent: PathBuf,
    /// Shows what one program does (`hooklab run`).
    pub demo: PathBuf,
    /// The loaders, each with its name in the guest's `bin/`.
    pub loaders: Vec<(String, PathBuf)>,
}

/// A Debian package and how to see that what it brings is there.
#[derive(Debug)]
pub struct Need {
    /// Its name in Debian 12 and later and Ubuntu 22.04 and later.
    pub package: &'static str,
    /// Whether what it brings is there.
    pub is_there: fn(&Lab) -> bool,
}

impl Lab {
    /// Finds the directories and handles the signals that end a run.
    ///
    /// # Errors
    /// No cache directory is known, or the signals cannot be handled.
    pub fn open(project: Project, work: &Path, guest_half: Box<dyn GuestHalf + Sync>) -> Result<Self> {
        let cancelled = Arc::new(AtomicBool::new(false));
        handle_signals(&cancelled).context("failed to handle signals")?;
        Ok(Self { project, cache: cache()?, work: std::path::absolute(work)?, guest_half, cancelled })
    }

    /// Where saved machines are, and how much space they may take.
    ///
    /// # Errors
    /// `HOOKLAB_SAVED_MIB` is no number.
    pub fn saved(&self) -> Result<Store> {
        let mib = match std::env::var("HOOKLAB_SAVED_MIB").ok().filter(|value| !value.is_empty()) {
            None => SAVED_MIB,
            Some(value) => value.parse::<u32>().map_err(|_| {
                UsageError(format!("HOOKLAB_SAVED_MIB is {value:?}: it must be a number of MiB"))
            })?,
        };
        Ok(Store::new(&self.cache, u64::from(mib) << 20))
    }

    /// An error once the user has interrupted the run.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn check_interrupt(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Interrupted.into()) } else { Ok(()) }
    }
}

/// The cache directory: `HOOKLAB_CACHE`, or `hooklab` in the user's own.
pub(crate) fn cache() -> Result<PathBuf> {
    match std::env::var_os("HOOKLAB_CACHE").filter(|value| !value.is_empty()) {
        Some(cache) => std::path::absolute(&cache).context("failed to use HOOKLAB_CACHE"),
        None => match dirs::cache_dir() {
            Some(directory) => Ok(directory.join("hooklab")),
            None => bail!("failed to find your cache directory: set HOME, XDG_CACHE_HOME or HOOKLAB_CACHE"),
        },
    }
}

/// The first signal asks the run to end; the second, or long patience, ends it at once. Machines die with it.
fn handle_signals(cancelled: &Arc<AtomicBool>) -> io::Result<()> {
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
