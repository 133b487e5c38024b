//! Runs one machine's share of a kernel's tests. If the machine ends, only the test that was running fails; another machine
//! takes the rest.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hooklab_protocol::{self as protocol, Cases, Exit, MAX_OUTPUT, Report, SETTLE_MS, with_causes};

use super::error::Error;
use super::pool::Up;
use super::side_effects::with_side_effects;
use super::{Isolation, Kernel, Run, quota, verdict};
use crate::TestId;
use crate::event::{Attempt, Event, Outcome};
use crate::machine::{Machine, MachineError, ProtocolError, create_log};

/// Time that the agent may take in addition to a test's time limit before the guest counts as hung.
const AGENT_PATIENCE: Duration = Duration::from_millis(1500);

/// How long the agent may take to remove a test's leaks: it waits for the kernel to free some of them, and to switch off a
/// tracer may take a kernel seconds.
const SETTLE_PATIENCE: Duration = Duration::from_millis(SETTLE_MS + 10_000);

/// Longest output of a test that is accepted, in bytes: the agent cuts it to [`MAX_OUTPUT`], and replaces each byte that is
/// not UTF-8 by three.
const OUTPUT_BYTES: usize = 4 * MAX_OUTPUT;

/// Reports that are accepted after the time limit: some may have waited while this process could not run.
const LATE_REPORTS: usize = 256;

/// How many machines in a row may end without having ended a test.
const IDLE_ERRORS: usize = 2;

/// Runs tests of a kernel until none is left.
pub(super) struct Worker<'a> {
    run: &'a Run<'a>,
    kernel: &'a Kernel<'a>,
    log: PathBuf,
    /// The tests that it has taken and that have not ended.
    batch: VecDeque<TestId>,
    /// How many tests have ended, counting each attempt.
    ended: usize,
    /// Earlier attempts at the first test of the batch.
    earlier: Vec<Attempt>,
}

impl<'a> Worker<'a> {
    /// The machine with this number, of those that share the kernel.
    pub(super) fn new(run: &'a Run<'a>, kernel: &'a Kernel<'a>, number: usize) -> Self {
        let log = &kernel.job.log;
        let log = if number == 0 { log.clone() } else { log.with_extension(format!("@{number}.log")) };
        // The log of an earlier run; if it cannot be removed, neither can it be created.
        let _ = std::fs::remove_file(&log);
        if let Err(error) = create_log(&log) {
            let text =
                format!("failed to keep the console of {} in {}: {error}", kernel.job.spec, log.display());
            run.observer.notify(Event::Warning(text));
        }
        Self { run, kernel, log, batch: VecDeque::new(), ended: 0, earlier: Vec::new() }
    }

    /// Runs tests until none is left. An error is the lab's, not a test's.
    pub(super) fn run(&mut self) -> Result<(), Error> {
        let mut idle_errors = 0;
        while self.take() {
            let before = self.ended;
            let error = match self.kernel.machines.loaded(self.run, &self.log) {
                Ok(up) => match self.run_on(up) {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Err(error) => error.retryable()?,
            };
            if matches!(error, MachineError::Cancelled) {
                return self.cancelled();
            }
            idle_errors = if self.ended > before { 0 } else { idle_errors + 1 };
            if idle_errors == IDLE_ERRORS {
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// A run that ends early is no error, unless the user interrupted it.
    fn cancelled(&self) -> Result<(), Error> {
        match self.run.campaign.cancelled.load(Ordering::Relaxed) {
            true => Err(MachineError::Cancelled.into()),
            false => Ok(()),
        }
    }

    /// Takes tests unless there are some; returns whether there are.
    fn take(&mut self) -> bool {
        if self.run.is_over() {
            self.batch.clear();
        } else if self.batch.is_empty() {
            self.batch = self.kernel.take(self.run);
        }
        !self.batch.is_empty()
    }

    /// Runs tests on this machine as long as it may be used.
    fn run_on(&mut self, up: Up) -> Result<(), MachineError> {
        let Up { mut machine, release, features, start, boot } = up;
        let spec = self.kernel.job.spec.clone();
        self.run.observer.notify(Event::KernelUp { spec, release, features, start, boot });
        self.kernel.sift(self.run, features, &mut self.batch);
        // Of those that it took, none may be left to run.
        while self.take() {
            machine.run(self.request())?;
            let fit = self.follow(&mut machine)?;
            // The machine is killed, whatever it still does.
            if !fit || self.run.campaign.isolation == Isolation::Single {
                break;
            }
        }
        Ok(())
    }

    fn request(&self) -> protocol::Run {
        let campaign = self.run.campaign;
        let first = self.batch.front();
        let cases = match first.and_then(|test| Some((test, campaign.whole.get(test)?))) {
            Some((test, invocation)) => {
                Cases::Whole { name: test.name.clone(), invocation: invocation.clone() }
            }
            None => Cases::Libtest(self.batch.iter().map(|test| test.name.clone()).collect()),
        };
        protocol::Run {
            program: first.map(|test| test.binary.clone()).unwrap_or_default(),
            cases,
            timeout_ms: u64::try_from(campaign.timeout.as_millis()).unwrap_or(u64::MAX),
            env: campaign.env.clone(),
            collect: campaign.collect.clone(),
            check: campaign.check,
            stream: campaign.stream,
        }
    }

    /// Handles the agent's reports on a batch. Returns whether the machine can be used for further tests.
    fn follow(&mut self, machine: &mut Machine) -> Result<bool, MachineError> {
        let timeout = self.run.campaign.timeout;
        let mut running: Option<(TestId, Instant)> = None;
        let (mut settling, mut late) = (false, 0);
        // The agent starts a test, and reports that all are done, in less time than a test may take.
        let patience = timeout + AGENT_PATIENCE;
        let mut deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Endless reports do not extend the time limit.
            late += usize::from(left.is_zero());
            if late > LATE_REPORTS {
                return Err(self.blame(running.as_ref(), ProtocolError::Endless.into()));
            }
            let spec = || self.kernel.job.spec.clone();
            match machine.next(left.max(Duration::from_millis(1))) {
                Ok(Report::Started { test })
                    if running.is_none()
                        && let Some(test) = self.batch.front().filter(|next| next.name == test).cloned() =>
                {
                    self.run.observer.notify(Event::TestStarted { spec: spec(), test: test.clone() });
                    running = Some((test, Instant::now()));
                    settling = false;
                    deadline = Instant::now() + patience;
                }
                Ok(Report::Settling) if running.is_some() && !settling => {
                    settling = true;
                    deadline = deadline.max(Instant::now() + SETTLE_PATIENCE);
                }
                Ok(Report::Ended { test, exit, micros, output, side_effects })
                    if running.as_ref().is_some_and(|(running, _)| running.name == test) =>
                {
                    let took = running.take().map(|(_, begin)| begin.elapsed()).unwrap_or_default();
                    deadline = Instant::now() + patience;
                    let output = quota::shortened(&output, OUTPUT_BYTES);
                    let verdict = self.verdict(exit, output, timeout);
                    let (outcome, message) = with_side_effects(verdict, &side_effects);
                    self.end(outcome, Duration::from_micros(micros).min(took), message);
                    if side_effects.dirty || !self.earlier.is_empty() || self.run.is_over() {
                        return Ok(false);
                    }
                }
                Ok(report @ (Report::File { .. } | Report::Output { .. }))
                    if let Some((test, _)) = &running
                        && self.wants(&report) =>
                {
                    self.pass_on(test.clone(), report);
                }
                Ok(Report::Done) if running.is_none() && self.batch.is_empty() => return Ok(true),
                Ok(other) => {
                    let error = ProtocolError::unexpected(&other, "a report that is due");
                    return Err(self.blame(running.as_ref(), error.into()));
                }
                Err(error) => return Err(self.blame(running.as_ref(), error)),
            }
        }
    }

    /// The verdict on the process of the first test of the batch.
    fn verdict(&self, exit: Exit, output: &str, limit: Duration) -> (Outcome, Option<String>) {
        match self.batch.front() {
            Some(test) if !self.run.campaign.whole.contains_key(test) => {
                verdict::of_test(exit, output, &test.name, limit)
            }
            _ => verdict::of_program(exit, output, limit),
        }
    }

    /// Whether the campaign asks for such reports of a running test.
    fn wants(&self, report: &Report) -> bool {
        match report {
            Report::File { .. } => self.run.campaign.collect.is_some(),
            Report::Output { .. } => self.run.campaign.stream,
            _ => false,
        }
    }

    /// Passes on what a test produced, within the quota.
    fn pass_on(&self, test: TestId, report: Report) {
        let spec = self.kernel.job.spec.clone();
        let (bytes, event) = match report {
            Report::File { path, content } => {
                (path.len() + content.len(), Event::File { spec, test, path, content })
            }
            Report::Output { text } => (text.len(), Event::Output { spec, test, text }),
            _ => return,
        };
        if self.kernel.quota.allows(bytes) {
            self.run.observer.notify(event);
        }
    }

    /// Ends the test that was running, if any: the machine's error is its fault.
    fn blame(&mut self, running: Option<&(TestId, Instant)>, error: MachineError) -> MachineError {
        if let Some((_, begin)) = running
            && !matches!(error, MachineError::Cancelled)
        {
            let outcome = match error {
                MachineError::Silent { .. } => Outcome::TimedOut,
                _ => Outcome::Crashed,
            };
            self.end(outcome, begin.elapsed(), Some(with_causes(&error)));
        }
        error
    }

    /// Ends an attempt at the first test of the batch, which stays there if it is to be retried.
    fn end(&mut self, outcome: Outcome, duration: Duration, message: Option<String>) {
        self.ended += 1;
        let spec = self.kernel.job.spec.clone();
        let message = message.map(|message| self.kernel.quota.cut(message));
        let Some(test) = self.batch.front().cloned() else { return };
        if !outcome.is_fine() && self.earlier.len() < self.run.campaign.retries {
            let attempt = Attempt { outcome, seconds: duration.as_secs_f64(), message };
            self.earlier.push(attempt.clone());
            self.run.observer.notify(Event::TestRetried { spec, test, attempt });
            return;
        }
        if !outcome.is_fine() {
            self.run.note_failure();
        }
        self.batch.pop_front();
        let earlier = std::mem::take(&mut self.earlier);
        let passed_late = outcome == Outcome::Passed && !earlier.is_empty();
        let outcome = if passed_late { Outcome::Flaky } else { outcome };
        self.run.observer.notify(Event::TestEnded { spec, test, outcome, duration, message, earlier });
    }
}
