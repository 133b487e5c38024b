//! Runs tests on kernels: on several machines at once, each of which takes the next tests that no other has.

mod error;
mod pool;
mod quota;
mod side_effects;
mod verdict;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use hooklab_protocol::{EnvValue, EnvVar, Invocation};

use hooklab_protocol::with_causes;

use self::error::Error;
use self::pool::Pool;
use self::quota::Quota;
use self::worker::Worker;
use crate::TestId;
use crate::event::{Event, Features, KernelError, Need, Observer, Outcome};
use crate::machine::{Cancellation, Machine, MachineError, Plan};
use crate::qemu::accelerator::Probe;
use crate::saved::Store;

/// Fewest tests that must be left on a kernel for another machine to be worth its start.
const SHARE: usize = 8;

/// Most tests that a machine takes at once, so that none has many left when the others have none.
const BATCH: usize = 8;

/// Where tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Many on one machine, one after the other.
    Shared,
    /// Each on a machine of its own, on which nothing ran before.
    Single,
}

/// The tests to run on a kernel.
#[derive(Debug)]
pub struct Job<'a> {
    /// The kernel, as the user named it.
    pub spec: String,
    /// How to boot a machine, or the running kernel.
    pub plan: Plan<'a>,
    /// The log of its console; those of further machines are beside it, numbered.
    pub log: PathBuf,
}

/// What all kernels have in common.
#[derive(Debug)]
pub struct Campaign<'a> {
    /// The archive for the guest.
    pub payload: &'a [u8],
    /// The tests, those of a binary one after the other.
    pub tests: Vec<TestId>,
    /// What some of them need of a kernel. One whose needs a kernel does not meet is not run there:
    /// [`Outcome::Unsupported`].
    pub needs: BTreeMap<TestId, Vec<Need>>,
    /// Programs that have no tests: each runs whole, as one test, and its exit code is the verdict. The names of their
    /// binaries are absolute paths in the guest, or relative to the payload.
    pub whole: BTreeMap<TestId, Invocation>,
    /// Environment variables of the tests.
    pub env: Vec<EnvVar>,
    /// A directory in the payload from which the agent sends new and changed files.
    pub collect: Option<String>,
    /// Whether to check for side effects after each test.
    pub check: bool,
    /// Whether to report the output of tests while they run, as [`Event::Output`].
    pub stream: bool,
    /// Time limit for a test.
    pub timeout: Duration,
    /// Time limit for a guest's agent to report ready.
    pub boot_timeout: Duration,
    /// How often a test that does not pass is retried, each time on a fresh machine.
    pub retries: usize,
    /// Machines at once.
    pub machines: usize,
    /// Where tests run.
    pub isolation: Isolation,
    /// The saved machines; without, each machine boots.
    pub saved: Option<&'a Store>,
    /// Whether the first test that does not pass ends the run.
    pub fail_fast: bool,
    /// Set when the user has interrupted the run.
    pub cancelled: Arc<AtomicBool>,
}

/// Runs the tests on every kernel, and reports to `observer`: for each kernel, [`Event::KernelEnded`] comes last. Returns
/// whether a failure ended the run early.
pub fn run(campaign: &Campaign<'_>, jobs: Vec<Job<'_>>, observer: &dyn Observer) -> bool {
    let run = Run {
        campaign,
        observer,
        kernels: jobs.into_iter().map(|job| Kernel::new(job, campaign)).collect(),
        stop: Arc::default(),
    };
    // The kernel kills a machine when the thread that started it ends: each has a thread that outlives it.
    std::thread::scope(|scope| {
        for _ in 0..campaign.machines.max(1) {
            scope.spawn(|| {
                while let Some((kernel, number)) = run.pick() {
                    let work = || Worker::new(&run, kernel, number).run();
                    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                    kernel.leave(&run, caught.unwrap_or(Err(Error::Panicked)).err());
                }
            });
        }
    });
    run.stop.load(Ordering::Relaxed)
}

/// Boots a kernel to find out whether KVM works: whether the kernel reaches user space.
pub fn probe(plan: Plan<'_>, limit: Duration, cancelled: Arc<AtomicBool>) -> Probe {
    let mut machine = match Machine::start(plan, None, cancelled.into()) {
        Ok(machine) => machine,
        Err(error) => return Probe::Unknown(with_causes(&error)),
    };
    match machine.wait_until_ready(limit) {
        Ok(_) => {
            machine.power_off();
            Probe::Works
        }
        Err(MachineError::Panicked(_)) => Probe::Fails("a kernel panics with it".into()),
        Err(MachineError::Ended { .. }) => Probe::Fails("QEMU exits with it".into()),
        Err(MachineError::Silent { .. }) => Probe::Fails("a kernel hangs with it".into()),
        Err(MachineError::Monitor(_)) => Probe::Fails("QEMU hangs with it".into()),
        Err(other) => Probe::Unknown(with_causes(&other)),
    }
}

/// A run in progress.
struct Run<'a> {
    campaign: &'a Campaign<'a>,
    observer: &'a dyn Observer,
    kernels: Vec<Kernel<'a>>,
    /// A test did not pass, which ends the run.
    stop: Arc<AtomicBool>,
}

/// A kernel, its machines, and its tests.
struct Kernel<'a> {
    job: Job<'a>,
    machines: Pool<'a>,
    work: Mutex<Work>,
    /// The quota for what its guests send.
    quota: Quota,
}

/// The progress of a kernel's tests.
struct Work {
    /// The tests that no machine has taken.
    left: VecDeque<TestId>,
    /// What the kernel can do, as its first machine reported before it ran any test: no test has a say in it.
    features: Option<Features>,
    /// When the first machine began.
    begun: Option<Instant>,
    /// Machines so far.
    numbered: usize,
    /// Machines at work.
    active: usize,
    /// Why the lab could not run all tests.
    error: Option<KernelError>,
}

impl<'a> Run<'a> {
    /// The next kernel for an idle thread: one without a machine, or the one with most tests left; and how many machines it
    /// had before.
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

    /// Whether the run is ending: no further test starts.
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.campaign.cancelled.load(Ordering::Relaxed)
    }

    /// What cancels all waits.
    fn cancellation(&self) -> Cancellation {
        Cancellation::from(Arc::clone(&self.campaign.cancelled)).or(Arc::clone(&self.stop))
    }

    /// Takes note that a test did not pass.
    fn note_failure(&self) {
        if self.campaign.fail_fast {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl<'a> Kernel<'a> {
    fn new(job: Job<'a>, campaign: &Campaign<'_>) -> Self {
        let left = campaign.tests.iter().cloned().collect();
        let work = Work { left, features: None, begun: None, numbered: 0, active: 0, error: None };
        Self {
            machines: Pool::new(job.spec.clone(), job.plan),
            job,
            work: Mutex::new(work),
            quota: Quota::default(),
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        // A thread that panicked leaves a valid list of tests.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins with the kernel, unless another thread has.
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

    /// Adds a machine, if that is worth its start; returns its number.
    fn join(&self) -> Option<usize> {
        let mut work = self.work();
        // There is one running kernel.
        let alone = matches!(self.job.plan, Plan::Host { .. });
        if alone || work.active == 0 || work.error.is_some() || work.left.len() < SHARE * work.active {
            return None;
        }
        let number = work.numbered;
        work.numbered += 1;
        work.active += 1;
        Some(number)
    }

    /// Takes the next tests for a machine, fewer at a time towards the end.
    fn take(&self, run: &Run<'_>) -> VecDeque<TestId> {
        let mut work = self.work();
        if run.is_over() || work.error.is_some() {
            return VecDeque::new();
        }
        let size = (work.left.len() / (2 * run.campaign.machines)).clamp(1, BATCH);
        // A request names one binary, and runs its tests or all of it.
        let first = work.left.front().cloned();
        let whole = first.as_ref().is_some_and(|test| run.campaign.whole.contains_key(test));
        let size = if whole || run.campaign.isolation == Isolation::Single { 1 } else { size };
        let binary = first.map(|test| test.binary);
        let same = work.left.iter().take_while(|test| Some(&test.binary) == binary.as_ref()).count();
        let size = size.min(same);
        work.left.drain(..size).collect()
    }

    /// Takes the tests that cannot run on this kernel out of those that are left and out of a machine's `batch`, and
    /// reports them. `found` are the features that the machine reported.
    fn sift(&self, run: &Run<'_>, found: Features, batch: &mut VecDeque<TestId>) {
        let needs = &run.campaign.needs;
        let mut work = self.work();
        let features = *work.features.get_or_insert(found);
        let missing = |test: &TestId| needs.get(test)?.iter().find_map(|&need| features.lacks(need));
        let mut unsupported = Vec::new();
        for tests in [batch, &mut work.left] {
            tests.retain(|test| match missing(test) {
                None => true,
                Some(reason) => {
                    unsupported.push((test.clone(), reason));
                    false
                }
            });
        }
        drop(work);
        for (test, reason) in unsupported {
            run.observer.notify(Event::TestEnded {
                spec: self.job.spec.clone(),
                test,
                outcome: Outcome::Unsupported,
                duration: Duration::ZERO,
                message: Some(reason.to_owned()),
                earlier: Vec::new(),
            });
        }
    }

    /// Ends a machine's work, early with an error. The last machine reports the end of the kernel.
    fn leave(&self, run: &Run<'_>, error: Option<Error>) {
        let mut work = self.work();
        if error.is_some() {
            run.note_failure();
        }
        work.error = work.error.take().or(error.map(Into::into));
        work.active -= 1;
        if work.active == 0 {
            // No machine may join any more.
            work.left.clear();
            let (spec, error) = (self.job.spec.clone(), work.error.clone());
            let wall = work.begun.map(|begun| begun.elapsed()).unwrap_or_default();
            run.observer.notify(Event::KernelEnded { spec, error, wall });
        }
    }
}
