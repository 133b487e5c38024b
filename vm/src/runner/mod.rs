//! Runs tests on kernels: several machines at once, each of which takes from what is left to do.

mod pool;
mod quota;
mod side_effects;
mod verdict;
mod worker;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use hooklab_protocol::{EnvValue, EnvVar};

use self::pool::Machines;
use self::quota::Ration;
use self::worker::Runner;
use crate::TestId;
use crate::event::{Event, Observer};
use crate::machine::{Death, Halt, Machine, Plan};
use crate::qemu::accelerator::Probe;
use crate::saved::Store;

/// Fewest tests that must be left on a kernel for another machine to be worth its start.
const SHARE: usize = 8;

/// Most tests that a machine takes at once: none should have many left when the others have none.
const BATCH: usize = 8;

/// Where tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Many on one machine, one after the other.
    Shared,
    /// Each on a machine of its own, on which nothing has run.
    Single,
}

/// The tests to run on a kernel.
#[derive(Debug)]
pub struct Job<'a> {
    /// The kernel, as the user named it.
    pub spec: String,
    /// What makes the machine when it boots, or the running kernel.
    pub plan: Plan<'a>,
    /// Where its console's log goes; of further machines beside it, numbered.
    pub log: PathBuf,
}

/// What is the same for all kernels.
#[derive(Debug)]
pub struct Campaign<'a> {
    /// The archive.
    pub payload: &'a [u8],
    /// The tests, those of a binary one after the other.
    pub tests: Vec<TestId>,
    /// Environment variables of the tests.
    pub env: Vec<EnvVar>,
    /// Folder in the payload from which new and changed files come back.
    pub collect: Option<String>,
    /// Whether to compare the kernel after each test with what it was before.
    pub check: bool,
    /// Time limit for a test.
    pub timeout: Duration,
    /// Time limit for a guest to say hello.
    pub boot_timeout: Duration,
    /// How often a test that does not pass is run again, each time on a fresh machine.
    pub retries: usize,
    /// Machines at once.
    pub machines: usize,
    /// Where tests run.
    pub isolation: Isolation,
    /// Where machines are kept from one run to the next; without it each boots.
    pub saved: Option<&'a Store>,
    /// Whether one test that does not pass is to be the end.
    pub fail_fast: bool,
    /// Set when the user has interrupted the run.
    pub cancelled: Arc<AtomicBool>,
}

/// Runs the tests on every kernel; says whether a failure ended that early. Everything it finds out goes to
/// `observer`, [`Event::KernelEnded`] last for each kernel.
pub fn run(campaign: &Campaign<'_>, jobs: Vec<Job<'_>>, observer: &dyn Observer) -> bool {
    let run = Run {
        campaign,
        observer,
        kernels: jobs.into_iter().map(|job| Kernel::new(job, campaign)).collect(),
        stop: Arc::default(),
    };
    // A machine dies with the thread that started it: each has one that lives as long as it does.
    std::thread::scope(|scope| {
        for _ in 0..campaign.machines.max(1) {
            scope.spawn(|| {
                while let Some((kernel, number)) = run.pick() {
                    let work = || Runner::new(&run, kernel, number).run();
                    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                    let broken = |_| Err("a thread of the lab panicked".to_owned());
                    kernel.leave(&run, caught.unwrap_or_else(broken).err());
                }
            });
        }
    });
    run.stop.load(Ordering::Relaxed)
}

/// Says whether a kernel reaches user space with this machine; used to find out whether KVM works.
pub fn probe(plan: Plan<'_>, limit: Duration, cancelled: Arc<AtomicBool>) -> Probe {
    let mut machine = match Machine::start(plan, None, cancelled.into()) {
        Ok(machine) => machine,
        Err(error) => return Probe::Unknown(format!("failed to {error}")),
    };
    match machine.hello(limit) {
        Ok(_) => {
            machine.power_off();
            Probe::Works
        }
        Err(Death::Panicked(_)) => Probe::Fails("a kernel started with it fails".into()),
        Err(Death::Stopped { .. }) => Probe::Fails("QEMU gives up with it".into()),
        Err(Death::Silent { .. }) => Probe::Fails("a kernel started with it hangs".into()),
        Err(Death::Monitor(_)) => Probe::Fails("QEMU hangs with it".into()),
        Err(other) => Probe::Unknown(other.to_string()),
    }
}

/// A run under way.
struct Run<'a> {
    campaign: &'a Campaign<'a>,
    observer: &'a dyn Observer,
    kernels: Vec<Kernel<'a>>,
    /// Something did not pass, and that was to be the end.
    stop: Arc<AtomicBool>,
}

/// A kernel, its tests, and who works on them.
struct Kernel<'a> {
    job: Job<'a>,
    machines: Machines<'a>,
    work: Mutex<Work>,
    /// What its guests may say in all.
    ration: Ration,
}

/// How far a kernel's tests are.
struct Work {
    left: VecDeque<TestId>,
    /// When the first machine began.
    begun: Option<Instant>,
    /// Machines so far.
    numbered: usize,
    /// Machines at work.
    active: usize,
    /// Why the lab could not do its job.
    error: Option<String>,
}

impl<'a> Run<'a> {
    /// What a machine that has nothing to do may begin with: a kernel that nobody has begun, or the one with most
    /// left to do; and how many others began there before.
    fn pick(&self) -> Option<(&Kernel<'a>, usize)> {
        if self.is_over() {
            return None;
        }
        let fresh = self.kernels.iter().find(|kernel| kernel.begin(self));
        fresh.map(|kernel| (kernel, 0)).or_else(|| {
            let most = self.kernels.iter().max_by_key(|kernel| kernel.work().left.len())?;
            most.join().map(|number| (most, number))
        })
    }

    /// Whether nothing more is to be begun.
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.campaign.cancelled.load(Ordering::Relaxed)
    }

    /// What ends all waits.
    fn halt(&self) -> Halt {
        Halt::from(Arc::clone(&self.campaign.cancelled)).or(Arc::clone(&self.stop))
    }

    /// Something did not pass.
    fn note_failure(&self) {
        if self.campaign.fail_fast {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl<'a> Kernel<'a> {
    fn new(job: Job<'a>, campaign: &Campaign<'_>) -> Self {
        let left = campaign.tests.iter().cloned().collect();
        let work = Work { left, begun: None, numbered: 0, active: 0, error: None };
        Self {
            machines: Machines::new(job.spec.clone(), job.plan),
            job,
            work: Mutex::new(work),
            ration: Ration::default(),
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        // Whatever a thread that panicked has left is still a list of tests.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins, unless somebody has.
    fn begin(&self, run: &Run<'_>) -> bool {
        let mut work = self.work();
        if work.begun.is_some() {
            return false;
        }
        (work.begun, work.numbered, work.active) = (Some(Instant::now()), 1, 1);
        drop(work);
        let tests = run.campaign.tests.len();
        run.observer.notify(Event::KernelStarted { spec: self.job.spec.clone(), tests });
        true
    }

    /// Comes to help, if that is worth it; the number of this machine.
    fn join(&self) -> Option<usize> {
        let mut work = self.work();
        // The running kernel cannot be had twice.
        let alone = matches!(self.job.plan, Plan::Host { .. });
        if alone || work.active == 0 || work.error.is_some() || work.left.len() < SHARE * work.active {
            return None;
        }
        let number = work.numbered;
        work.numbered += 1;
        work.active += 1;
        Some(number)
    }

    /// The next tests for a machine: fewer at a time towards the end.
    fn take(&self, run: &Run<'_>) -> VecDeque<TestId> {
        let mut work = self.work();
        if run.is_over() || work.error.is_some() {
            return VecDeque::new();
        }
        let size = (work.left.len() / (2 * run.campaign.machines)).clamp(1, BATCH);
        let size = if run.campaign.isolation == Isolation::Single { 1 } else { size };
        // A request is for one binary.
        let first = work.left.front().map(|test| test.binary.clone());
        let same = work.left.iter().take_while(|test| Some(&test.binary) == first.as_ref()).count();
        let size = size.min(same);
        work.left.drain(..size).collect()
    }

    /// A machine has no more to do, or, with an error, could not do it. The last one to leave says so.
    fn leave(&self, run: &Run<'_>, error: Option<String>) {
        let mut work = self.work();
        if error.is_some() {
            run.note_failure();
        }
        work.error = work.error.take().or(error);
        work.active -= 1;
        if work.active == 0 {
            // Nobody may come to help any more.
            work.left.clear();
            let (spec, error) = (self.job.spec.clone(), work.error.clone());
            let wall = work.begun.map(|begun| begun.elapsed()).unwrap_or_default();
            run.observer.notify(Event::KernelEnded { spec, error, wall });
        }
    }
}
