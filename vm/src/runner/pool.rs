//! Where a kernel's machines come from: one boots, and is saved; from then on they are resumed.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Run;
use crate::event::{Event, Features, Start};
use crate::host::file_lock;
use crate::machine::{Death, Machine, Plan, StartError};
use crate::qemu::command_line::Composed;
use crate::qemu::initramfs;
use crate::saved::{Saved, Store};

/// How long a saved machine may take to say hello: a hundred times what it takes.
const RESUME_PATIENCE: Duration = Duration::from_secs(20);

/// How long the guest may take to take in the payload.
const PAYLOAD_PATIENCE: Duration = Duration::from_secs(30);

/// The machines of one kernel.
pub(super) struct Machines<'a> {
    spec: String,
    plan: Plan<'a>,
    /// What was saved at the hello. Whoever looks for it, or makes it, holds the lock: the others wait.
    at_hello: Mutex<Kept>,
}

/// What is known of a saved machine.
enum Kept {
    /// Nobody has looked yet.
    Unknown,
    /// It is there.
    There(Arc<Saved>),
    /// It cannot be kept: machines boot.
    Never,
}

/// How to get to a machine.
enum Way {
    Resume(Arc<Saved>),
    Boot,
    /// It was made on the way.
    Booted(Box<Up>),
}

/// A machine whose agent has said hello.
pub(super) struct Up {
    pub(super) machine: Machine,
    pub(super) release: String,
    pub(super) features: Features,
    pub(super) start: Start,
    pub(super) boot: Duration,
}

/// Why there is no machine.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoMachine {
    #[error("failed to {0}")]
    Start(#[from] StartError),
    /// It did not come up. The next one would not either, unless this one was stopped from outside.
    #[error(transparent)]
    Boot(Death),
    /// It had come up once, and died before a test could begin.
    #[error(transparent)]
    Lost(#[from] Death),
}

impl NoMachine {
    /// The death that another machine may be spared.
    pub(super) fn avoidable(self) -> Result<Death, Self> {
        match self {
            Self::Boot(death @ (Death::Stopped { .. } | Death::Cancelled)) | Self::Lost(death) => Ok(death),
            other => Err(other),
        }
    }
}

/// A machine that boots, and where it is kept.
struct Keeping<'a> {
    composed: &'a Composed,
    store: &'a Store,
    key: String,
}

impl<'a> Machines<'a> {
    pub(super) fn new(spec: String, plan: Plan<'a>) -> Self {
        Self { spec, plan, at_hello: Mutex::new(Kept::Unknown) }
    }

    /// A machine with the payload in.
    pub(super) fn loaded(&self, run: &Run<'_>, log: &Path) -> Result<Up, NoMachine> {
        let mut up = self.at_hello(run, log)?;
        up.machine.load(run.campaign.payload, PAYLOAD_PATIENCE)?;
        Ok(up)
    }

    /// A machine at its hello.
    fn at_hello(&self, run: &Run<'_>, log: &Path) -> Result<Up, NoMachine> {
        let Some(keeping) = self.keeping(run)? else { return self.boot(run, log) };
        // The second time it is one that was made anew.
        for _ in 0..2 {
            let saved = match self.way(run, &keeping, log)? {
                Way::Booted(up) => return Ok(*up),
                Way::Boot => break,
                Way::Resume(saved) => saved,
            };
            match resume(run, keeping.composed, &saved, log) {
                Err(NoMachine::Lost(death)) if death != Death::Cancelled => {
                    self.warn_of_damage(run, death.to_string().lines().next().unwrap_or_default());
                    keeping.store.discard(&keeping.key);
                    *lock(&self.at_hello) = Kept::Unknown;
                }
                other => return other,
            }
        }
        self.boot(run, log)
    }

    /// Where this kernel's machine is kept, if it is: its name stands for all that makes it.
    fn keeping<'r>(&'r self, run: &Run<'r>) -> Result<Option<Keeping<'r>>, NoMachine> {
        let (Plan::Boot { composed, agent, modules }, Some(store)) = (self.plan, run.campaign.saved) else {
            return Ok(None);
        };
        let initramfs = initramfs::make(agent, modules).map_err(StartError::from)?;
        let key = Store::key(&[composed.identity().as_bytes(), &initramfs]);
        Ok(Some(Keeping { composed, store, key }))
    }

    /// Finds the saved machine, or boots and saves one, once for all who ask.
    fn way(&self, run: &Run<'_>, keeping: &Keeping<'_>, log: &Path) -> Result<Way, NoMachine> {
        let mut kept = lock(&self.at_hello);
        if let Kept::Unknown = *kept {
            self.find(run, keeping, &mut kept);
        }
        let mut booted = None;
        if let Kept::Unknown = *kept {
            let cancelled = &run.campaign.cancelled;
            let waiting = || {
                run.observer.notify(Event::Step(format!("waiting for another run to boot {}", self.spec)));
            };
            let path = keeping.store.lock_path(&keeping.composed.identity());
            let lock = path.ok().and_then(|path| file_lock::wait(&path, cancelled, waiting).ok());
            if cancelled.load(Ordering::Relaxed) {
                return Err(Death::Cancelled.into());
            }
            if lock.is_some() {
                // Another run may have made it by now.
                self.find(run, keeping, &mut kept);
            }
            if let Kept::Unknown = *kept {
                let mut up = self.boot(run, log)?;
                *kept = self.keep(run, keeping, &mut up.machine)?;
                booted = Some(up);
            }
        }
        Ok(match (booted, &*kept) {
            (Some(up), _) => Way::Booted(Box::new(up)),
            (None, Kept::There(saved)) => Way::Resume(Arc::clone(saved)),
            (None, _) => Way::Boot,
        })
    }

    fn find(&self, run: &Run<'_>, keeping: &Keeping<'_>, kept: &mut Kept) {
        match keeping.store.find(&keeping.key) {
            Ok(None) => {}
            Ok(Some(saved)) => *kept = Kept::There(Arc::new(saved)),
            Err(why) => self.warn_of_damage(run, &why),
        }
    }

    /// Saves a machine that has just booted, which then goes on. One that cannot be kept costs the user a warning.
    fn keep(&self, run: &Run<'_>, keeping: &Keeping<'_>, machine: &mut Machine) -> Result<Kept, NoMachine> {
        let saved = machine.save()?;
        let Some(saved) = saved else { return Ok(Kept::Never) };
        let stored = keeping.store.keep(&keeping.key, &saved).map_err(|error| error.to_string());
        let found = stored.and_then(|()| keeping.store.find(&keeping.key));
        machine.go_on()?;
        Ok(match found {
            Ok(Some(saved)) => Kept::There(Arc::new(saved)),
            Ok(None) => Kept::Never,
            Err(why) => {
                let warning =
                    format!("failed to save the machine of {}: {why}: it will boot again", self.spec);
                run.observer.notify(Event::Warning(warning));
                Kept::Never
            }
        })
    }

    fn boot(&self, run: &Run<'_>, log: &Path) -> Result<Up, NoMachine> {
        let start = if let Plan::Host { .. } = self.plan { Start::Host } else { Start::Boot };
        up(run, self.plan, start, run.campaign.boot_timeout, log).map_err(|error| match error {
            NoMachine::Lost(death) => NoMachine::Boot(death),
            other => other,
        })
    }

    fn warn_of_damage(&self, run: &Run<'_>, what: &str) {
        let warning = format!("cannot restore {} from its saved state ({what}); booting instead", self.spec);
        run.observer.notify(Event::Warning(warning));
    }
}

fn resume(run: &Run<'_>, composed: &Composed, saved: &Saved, log: &Path) -> Result<Up, NoMachine> {
    up(run, Plan::Resume { composed, saved }, Start::Resume, RESUME_PATIENCE, log)
}

fn up(run: &Run<'_>, plan: Plan<'_>, start: Start, limit: Duration, log: &Path) -> Result<Up, NoMachine> {
    let mut machine = Machine::start(plan, Some(log), run.halt())?;
    let (release, features, boot) = machine.hello(limit)?;
    Ok(Up { machine, release, features, start, boot })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a thread that panicked has left is whole: each is set in one go.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
