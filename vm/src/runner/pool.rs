//! A kernel's machines: the first one boots and is saved, the others are restored.

use std::error::Error as StdError;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hooklab_protocol::with_causes;

use super::Run;
use super::error::Error;
use crate::event::{Event, Features, Start};
use crate::host::file_lock;
use crate::machine::{Machine, MachineError, Plan, StartError};
use crate::qemu::command_line::CommandLine;
use crate::qemu::initramfs;
use crate::saved::{Saved, Store};

/// How long a restored machine may take to report ready: a hundred times the usual.
const RESTORE_PATIENCE: Duration = Duration::from_secs(20);

/// How long the agent may take to unpack the payload.
const PAYLOAD_PATIENCE: Duration = Duration::from_secs(30);

/// The machines of one kernel.
pub(super) struct Pool<'a> {
    spec: String,
    plan: Plan<'a>,
    /// The machine that was saved when its agent reported ready. Whoever looks for it, or saves it, holds the lock.
    saved: Mutex<SavedMachine>,
}

/// What is known of the saved machine.
enum SavedMachine {
    /// Nobody has looked for it.
    Unknown,
    Exists(Arc<Saved>),
    /// It cannot be saved: machines boot.
    Impossible,
}

/// How to get a machine.
enum Way {
    Restore(Arc<Saved>),
    Boot,
    /// It has just booted and was saved.
    Booted(Box<Up>),
}

/// A machine whose agent is ready.
pub(super) struct Up {
    pub(super) machine: Machine,
    pub(super) release: String,
    pub(super) features: Features,
    pub(super) start: Start,
    pub(super) boot: Duration,
}

/// Where a kernel's machine is saved.
struct Slot<'a> {
    command_line: &'a CommandLine,
    store: &'a Store,
    key: String,
}

impl<'a> Pool<'a> {
    pub(super) fn new(spec: String, plan: Plan<'a>) -> Self {
        Self { spec, plan, saved: Mutex::new(SavedMachine::Unknown) }
    }

    /// Gets a machine with the payload.
    pub(super) fn loaded(&self, run: &Run<'_>, log: &Path) -> Result<Up, Error> {
        let mut up = self.ready(run, log)?;
        up.machine.load(run.campaign.payload, PAYLOAD_PATIENCE)?;
        Ok(up)
    }

    /// Gets a machine whose agent is ready.
    fn ready(&self, run: &Run<'_>, log: &Path) -> Result<Up, Error> {
        let Some(slot) = self.slot(run)? else { return self.boot(run, log) };
        // If the saved machine is damaged, the second one is newly saved.
        for _ in 0..2 {
            let saved = match self.way(run, &slot, log)? {
                Way::Booted(up) => return Ok(*up),
                Way::Boot => break,
                Way::Restore(saved) => saved,
            };
            let plan = Plan::Restore { command_line: slot.command_line, saved: &saved };
            match up(run, plan, Start::Resume, RESTORE_PATIENCE, log) {
                Err(Error::Lost(error)) if !matches!(error, MachineError::Cancelled) => {
                    self.warn_of_damage(run, &error);
                    slot.store.discard(&slot.key);
                    *lock(&self.saved) = SavedMachine::Unknown;
                }
                other => return other,
            }
        }
        self.boot(run, log)
    }

    /// Where this kernel's machine is saved, if machines are: the key stands for everything that makes it.
    fn slot<'r>(&'r self, run: &Run<'r>) -> Result<Option<Slot<'r>>, Error> {
        let (Plan::Boot { command_line, agent, modules }, Some(store)) = (self.plan, run.campaign.saved)
        else {
            return Ok(None);
        };
        let initramfs = initramfs::make(agent, modules).map_err(StartError::from)?;
        let key = Store::key(&[command_line.identity().as_bytes(), &initramfs]);
        Ok(Some(Slot { command_line, store, key }))
    }

    /// Finds the saved machine, or boots and saves one, once for all threads.
    fn way(&self, run: &Run<'_>, slot: &Slot<'_>, log: &Path) -> Result<Way, Error> {
        let mut known = lock(&self.saved);
        if let SavedMachine::Unknown = *known {
            self.find(run, slot, &mut known);
        }
        let mut booted = None;
        if let SavedMachine::Unknown = *known {
            let cancelled = &run.campaign.cancelled;
            let waiting = || {
                run.observer.notify(Event::Step(format!("waiting for another run to boot {}", self.spec)));
            };
            let path = slot.store.lock_path(&slot.command_line.identity());
            let lock = path.ok().and_then(|path| file_lock::wait(&path, cancelled, waiting).ok());
            if cancelled.load(Ordering::Relaxed) {
                return Err(MachineError::Cancelled.into());
            }
            if lock.is_some() {
                // Another run may have saved it by now.
                self.find(run, slot, &mut known);
            }
            if let SavedMachine::Unknown = *known {
                let mut up = self.boot(run, log)?;
                *known = self.save(run, slot, &mut up.machine)?;
                booted = Some(up);
            }
        }
        Ok(match (booted, &*known) {
            (Some(up), _) => Way::Booted(Box::new(up)),
            (None, SavedMachine::Exists(saved)) => Way::Restore(Arc::clone(saved)),
            (None, _) => Way::Boot,
        })
    }

    fn find(&self, run: &Run<'_>, slot: &Slot<'_>, known: &mut SavedMachine) {
        match slot.store.find(&slot.key) {
            Ok(None) => {}
            Ok(Some(saved)) => *known = SavedMachine::Exists(Arc::new(saved)),
            Err(error) => self.warn_of_damage(run, &error),
        }
    }

    /// Saves a machine that has just booted, and lets it continue. If it cannot be stored, the user is warned.
    fn save(&self, run: &Run<'_>, slot: &Slot<'_>, machine: &mut Machine) -> Result<SavedMachine, Error> {
        let Some(saved) = machine.save()? else { return Ok(SavedMachine::Impossible) };
        let stored = slot.store.keep(&slot.key, &saved);
        let found = stored.and_then(|()| slot.store.find(&slot.key));
        machine.resume()?;
        Ok(match found {
            Ok(Some(saved)) => SavedMachine::Exists(Arc::new(saved)),
            Ok(None) => SavedMachine::Impossible,
            Err(error) => {
                let (spec, why) = (&self.spec, with_causes(&error));
                let warning = format!("failed to save the machine of {spec}: {why}; it will boot again");
                run.observer.notify(Event::Warning(warning));
                SavedMachine::Impossible
            }
        })
    }

    fn boot(&self, run: &Run<'_>, log: &Path) -> Result<Up, Error> {
        let start = if let Plan::Host { .. } = self.plan { Start::Host } else { Start::Boot };
        up(run, self.plan, start, run.campaign.boot_timeout, log).map_err(|error| match error {
            Error::Lost(error) => Error::Boot(error),
            other => other,
        })
    }

    fn warn_of_damage(&self, run: &Run<'_>, error: &dyn StdError) {
        // The lines that follow are the end of a console.
        let why = with_causes(error);
        let why = why.lines().next().unwrap_or_default();
        let warning = format!("cannot restore {} from its saved state ({why}); booting instead", self.spec);
        run.observer.notify(Event::Warning(warning));
    }
}

fn up(run: &Run<'_>, plan: Plan<'_>, start: Start, limit: Duration, log: &Path) -> Result<Up, Error> {
    let mut machine = Machine::start(plan, Some(log), run.cancellation())?;
    let (release, features, boot) = machine.wait_until_ready(limit)?;
    Ok(Up { machine, release, features, start, boot })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked leaves a valid value: each is set at once.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
