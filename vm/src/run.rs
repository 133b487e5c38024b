//! Runs tests on one kernel and judges what happens: a guest that dies takes down the one test that was running; it
//! is started again and goes on with the rest.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hooklab_protocol::{Exit, Report, Run};

use crate::accel::Probe;
use crate::event::{Event, Observer, Outcome, Start};
use crate::machine::{Death, Machine, Plan};

/// What the agent may take on top of a test's own time limit before the guest counts as hung.
const AGENT_PATIENCE: Duration = Duration::from_millis(1500);

/// How long the guest may take to take in the payload and start a test.
const PAYLOAD_PATIENCE: Duration = Duration::from_secs(30);

/// How often in a row a guest may die with no test running.
const IDLE_DEATHS: usize = 2;

/// Fewest tests that are worth another machine for the same kernel: its boot must not cost more than it saves.
const SHARE: usize = 8;

/// The tests to run on a kernel, and how.
#[derive(Debug)]
pub struct Job<'a> {
    /// The kernel, as the user named it.
    pub spec: String,
    /// What makes the machine.
    pub plan: Plan<'a>,
    /// The archive.
    pub payload: &'a [u8],
    /// The libtest binary, relative to the payload.
    pub binary: String,
    /// Names of the tests, as the binary lists them.
    pub tests: Vec<String>,
    /// Environment of the tests; `{payload}` in a value stands for the folder of the payload.
    pub env: Vec<(String, String)>,
    /// Folder in the payload from which new and changed files come back.
    pub collect: Option<String>,
    /// Time limit for a test.
    pub timeout: Duration,
    /// Time limit for a guest to say hello.
    pub boot_timeout: Duration,
    /// Machines that may share the tests, side by side.
    pub machines: usize,
    /// Where the console's log goes; of further machines beside it, numbered.
    pub log: PathBuf,
    /// Where one test that does not pass is to be the end: set by it, and seen by every job that shares this.
    pub fail_fast: Option<Arc<AtomicBool>>,
    /// Set when the user has interrupted the run.
    pub cancelled: Arc<AtomicBool>,
}

impl Job<'_> {
    /// Something did not pass.
    fn note_failure(&self) {
        if let Some(stop) = &self.fail_fast {
            stop.store(true, Ordering::Relaxed);
        }
    }

    /// Whether something did not pass, here or in another job, and that was to be the end.
    fn is_enough(&self) -> bool {
        self.fail_fast.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }
}

/// Runs the tests of `job`. Everything it finds out goes to `observer`, [`Event::KernelEnded`] last.
pub fn run(job: &Job<'_>, observer: &dyn Observer) {
    let begin = Instant::now();
    let spec = job.spec.clone();
    observer.notify(Event::KernelStarted { spec: spec.clone(), tests: job.tests.len() });
    let runners = deal(&job.tests, job.machines).into_iter().enumerate().map(|(number, left)| {
        let log =
            if number == 0 { job.log.clone() } else { job.log.with_extension(format!("@{number}.log")) };
        // What is there is of another run; if it cannot be removed, opening it will say why.
        let _ = std::fs::remove_file(&log);
        Runner { job, observer, left, log }
    });
    // A machine dies with the thread that started it: each has one that lives as long as it does.
    let errors: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = runners.map(|mut runner| scope.spawn(move || runner.run().err())).collect();
        let broken = || Some("a thread of the lab panicked".to_owned());
        threads.into_iter().filter_map(|thread| thread.join().unwrap_or_else(|_| broken())).collect()
    });
    let error = errors.into_iter().next();
    if error.is_some() {
        job.note_failure();
    }
    observer.notify(Event::KernelEnded { spec, error, wall: begin.elapsed() });
}

/// Deals tests out to at most `machines` machines, to and fro, so that neighbours, which are often one test for
/// several loaders, are spread evenly.
fn deal(tests: &[String], machines: usize) -> Vec<VecDeque<String>> {
    let machines = machines.min(tests.len() / SHARE).max(1);
    let mut shares = vec![VecDeque::new(); machines];
    for (position, test) in tests.iter().enumerate() {
        let (round, seat) = (position / machines, position % machines);
        let seat = if round % 2 == 0 { seat } else { machines - 1 - seat };
        shares[seat].push_back(test.clone());
    }
    shares
}

/// Says whether a kernel reaches user space with this machine; used to find out whether KVM works.
pub fn probe(plan: Plan<'_>, limit: Duration, cancelled: Arc<AtomicBool>) -> Probe {
    let mut machine = match Machine::start(plan, None, cancelled) {
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
        Err(other) => Probe::Unknown(other.to_string()),
    }
}

/// How one machine's work ended.
enum End {
    /// All tests have results.
    Done,
    /// The machine died; the rest needs another one.
    Died(Death),
    /// A test did not pass, and that was to be the end.
    Enough,
}

/// One machine's share of a job.
struct Runner<'a> {
    job: &'a Job<'a>,
    observer: &'a dyn Observer,
    left: VecDeque<String>,
    log: PathBuf,
}

impl Runner<'_> {
    fn run(&mut self) -> Result<(), String> {
        let mut idle_deaths = 0;
        loop {
            let before = self.left.len();
            let death = match self.run_on_a_machine()? {
                End::Done | End::Enough => return Ok(()),
                End::Died(Death::Cancelled) => return Err(Death::Cancelled.to_string()),
                End::Died(death) => death,
            };
            idle_deaths = if self.left.len() < before { 0 } else { idle_deaths + 1 };
            if idle_deaths == IDLE_DEATHS {
                return Err(death.to_string());
            }
            if self.left.is_empty() || self.job.is_enough() {
                return Ok(());
            }
        }
    }

    /// Starts a machine and runs what is left; an error is one of the lab, not of a test.
    fn run_on_a_machine(&mut self) -> Result<End, String> {
        let job = self.job;
        let started = Machine::start(job.plan, Some(&self.log), Arc::clone(&job.cancelled));
        let mut machine = started.map_err(|error| format!("failed to {error}"))?;
        let (release, boot) = machine.hello(job.boot_timeout).map_err(|death| death.to_string())?;
        let start = match job.plan {
            Plan::Boot { .. } => Start::Boot,
            Plan::Host { .. } => Start::Host,
        };
        self.observer.notify(Event::KernelUp { spec: job.spec.clone(), release, start, boot });
        let request = Run {
            payload_bytes: job.payload.len() as u64,
            binary: job.binary.clone(),
            tests: self.left.iter().cloned().collect(),
            timeout_ms: u64::try_from(job.timeout.as_millis()).unwrap_or(u64::MAX),
            env: job.env.clone(),
            collect: job.collect.clone(),
        };
        if let Err(death) = machine.run(request, job.payload) {
            return Ok(End::Died(death));
        }
        let end = self.follow(&mut machine);
        // One that died, or is in the middle of a test, would not listen.
        if matches!(end, End::Done) {
            machine.power_off();
        }
        Ok(end)
    }

    /// Takes note of what the agent says until there is no more to come.
    fn follow(&mut self, machine: &mut Machine) -> End {
        let mut running: Option<(String, Instant)> = None;
        loop {
            let limit = match &running {
                Some((_, begin)) => (self.job.timeout + AGENT_PATIENCE)
                    .saturating_sub(begin.elapsed())
                    .max(Duration::from_millis(1)),
                None => PAYLOAD_PATIENCE,
            };
            match machine.next(limit) {
                Ok(Report::Started { test }) if running.is_none() && self.left.front() == Some(&test) => {
                    self.observer
                        .notify(Event::TestStarted { spec: self.job.spec.clone(), test: test.clone() });
                    running = Some((test, Instant::now()));
                }
                Ok(Report::Ended { test, exit, micros, output })
                    if running.as_ref().is_some_and(|(name, _)| *name == test) =>
                {
                    running = None;
                    let (outcome, message) = judge(exit, &output, &test, self.job.timeout);
                    self.end(outcome, Duration::from_micros(micros), message);
                    if self.job.is_enough() {
                        return End::Enough;
                    }
                }
                Ok(Report::File { path, content }) => {
                    self.observer.notify(Event::File { spec: self.job.spec.clone(), path, content });
                }
                Ok(Report::Done) if running.is_none() && self.left.is_empty() => return End::Done,
                Ok(other) => {
                    return self
                        .blame(running.as_ref(), Death::Nonsense(format!("out of turn it said {other:?}")));
                }
                Err(death) => return self.blame(running.as_ref(), death),
            }
        }
    }

    /// The machine died: the test that was running, if any, is what it died of.
    fn blame(&mut self, running: Option<&(String, Instant)>, death: Death) -> End {
        if let Some((_, begin)) = running
            && death != Death::Cancelled
        {
            let outcome = match death {
                Death::Silent { .. } => Outcome::TimedOut,
                _ => Outcome::Crashed,
            };
            self.end(outcome, begin.elapsed(), Some(death.to_string()));
        }
        End::Died(death)
    }

    /// Takes the first test off the list, with its result.
    fn end(&mut self, outcome: Outcome, duration: Duration, message: Option<String>) {
        if outcome != Outcome::Passed {
            self.job.note_failure();
        }
        if let Some(test) = self.left.pop_front() {
            let spec = self.job.spec.clone();
            self.observer.notify(Event::TestEnded { spec, test, outcome, duration, message });
        }
    }
}

/// What the end of a test's process means. libtest exits with 0 also where no test had that name, so its word is
/// asked for as well.
fn judge(exit: Exit, output: &str, test: &str, limit: Duration) -> (Outcome, Option<String>) {
    let last = output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let said_so = last.starts_with("test result: ok. 1 passed; 0 failed; 0 ignored");
    let said = without_harness(output, test);
    let (outcome, message) = match exit {
        Exit::Code(0) if said_so => return (Outcome::Passed, None),
        Exit::Code(0) => (Outcome::Failed, format!("its process ended well, but no test had run\n{said}")),
        Exit::Code(_) => (Outcome::Failed, said.to_owned()),
        Exit::Signal(signal) => (Outcome::Crashed, format!("killed by signal {signal}\n{said}")),
        Exit::TimedOut => (Outcome::TimedOut, format!("killed at its time limit of {limit:.0?}\n{said}")),
    };
    (outcome, Some(message.trim_end().to_owned()))
}

/// What the test itself printed, without what libtest prints around it.
fn without_harness<'a>(output: &'a str, test: &str) -> &'a str {
    let begin = format!("test {test} ... ");
    let said = output.split_once(&begin).map_or(output, |(_, said)| said);
    said.rsplit_once("\nFAILED\n\nfailures:\n").map_or(said, |(said, _)| said).trim_matches('\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);
    const PASSED: &str =
        "running 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured";

    #[test]
    fn only_a_test_that_ran_has_passed() {
        assert_eq!(judge(Exit::Code(0), PASSED, "a", LIMIT), (Outcome::Passed, None));
        let none = "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored";
        assert_eq!(judge(Exit::Code(0), none, "a", LIMIT).0, Outcome::Failed);
        assert_eq!(judge(Exit::Code(0), "", "a", LIMIT).0, Outcome::Failed);
        assert_eq!(judge(Exit::Code(101), PASSED, "a", LIMIT).0, Outcome::Failed);
        // Quoted from another run, by a test that then leaves.
        let quoted = format!("{PASSED}\nthat was another one");
        assert_eq!(judge(Exit::Code(0), &quoted, "a", LIMIT).0, Outcome::Failed);
    }

    #[test]
    fn what_libtest_prints_around_a_failure_is_left_out() {
        let output = "\nrunning 1 test\ntest a::b ... at first\n\nthread 'a::b' panicked\nFAILED\n\nfailures:\n\n\
                      failures:\n    a::b\n\ntest result: FAILED. 0 passed; 1 failed\n";
        let (_, message) = judge(Exit::Code(101), output, "a::b", LIMIT);
        assert_eq!(message.unwrap(), "at first\n\nthread 'a::b' panicked");
    }

    #[test]
    fn tests_are_dealt_to_and_fro_and_few_are_not_worth_two_machines() {
        let tests: Vec<String> = (0..17).map(|number| number.to_string()).collect();
        let shares = deal(&tests, 2);
        assert_eq!(shares[0], ["0", "3", "4", "7", "8", "11", "12", "15", "16"]);
        assert_eq!(shares[1], ["1", "2", "5", "6", "9", "10", "13", "14"]);
        assert_eq!(deal(&tests[..15], 2).len(), 1);
        assert_eq!(deal(&[], 2).len(), 1);
    }

    #[test]
    fn a_signal_and_a_time_limit_are_told_apart() {
        assert_eq!(judge(Exit::Signal(6), "", "a", LIMIT).0, Outcome::Crashed);
        let (outcome, message) = judge(Exit::TimedOut, "waiting", "a", LIMIT);
        assert_eq!(outcome, Outcome::TimedOut);
        assert_eq!(message.unwrap(), "killed at its time limit of 5s\nwaiting");
    }
}
