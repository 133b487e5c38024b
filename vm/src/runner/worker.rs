//! One machine's share of a kernel's tests. A guest that dies takes down the one test that was running; another is
//! started and goes on with the rest.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hooklab_protocol::{self as protocol, MAX_OUTPUT, Report, SETTLE_MS};

use super::pool::Up;
use super::side_effects::weigh;
use super::verdict::judge;
use super::{Isolation, Kernel, Run, quota};
use crate::TestId;
use crate::event::{Attempt, Event, Outcome};
use crate::machine::{Death, Machine, create_log};

/// What the agent may take on top of a test's own time limit before the guest counts as hung.
const AGENT_PATIENCE: Duration = Duration::from_millis(1500);

/// How long the agent may take to clear away what a test left: it waits for some of it to go, and to switch off a tracer
/// may take a kernel seconds.
const SETTLE_PATIENCE: Duration = Duration::from_millis(SETTLE_MS + 10_000);

/// Longest output of a test that is taken in, in bytes: the agent cuts it to [`MAX_OUTPUT`], and puts three bytes in the
/// place of each that is no UTF-8.
const OUTPUT_BYTES: usize = 4 * MAX_OUTPUT;

/// Reports that are taken after time is up: some may have waited here, while we could not run.
const LATE_REPORTS: usize = 256;

/// How often in a row a guest may die with no test running.
const IDLE_DEATHS: usize = 2;

/// Takes tests from a kernel until there are no more.
pub(super) struct Runner<'a> {
    run: &'a Run<'a>,
    kernel: &'a Kernel<'a>,
    log: PathBuf,
    /// What it has taken and not yet done.
    batch: VecDeque<TestId>,
    /// Tests that have ended here, each time that they were run.
    ended: usize,
    /// How it went before with the first test of the batch.
    earlier: Vec<Attempt>,
}

impl<'a> Runner<'a> {
    /// The machine with this number, of those that share the kernel.
    pub(super) fn new(run: &'a Run<'a>, kernel: &'a Kernel<'a>, number: usize) -> Self {
        let log = &kernel.job.log;
        let log = if number == 0 { log.clone() } else { log.with_extension(format!("@{number}.log")) };
        // What is there is of another run; if it cannot be removed, creating it will say why.
        let _ = std::fs::remove_file(&log);
        if let Err(error) = create_log(&log) {
            let text =
                format!("failed to keep the console of {} in {}: {error}", kernel.job.spec, log.display());
            run.observer.notify(Event::Warning(text));
        }
        Self { run, kernel, log, batch: VecDeque::new(), ended: 0, earlier: Vec::new() }
    }

    /// Runs tests until none is left; an error is one of the lab, not of a test.
    pub(super) fn run(&mut self) -> Result<(), String> {
        let mut idle_deaths = 0;
        while self.take() {
            let before = self.ended;
            let death = match self.kernel.machines.loaded(self.run, &self.log) {
                Ok(up) => match self.run_on(up) {
                    Ok(()) => continue,
                    Err(death) => death,
                },
                Err(error) => error.avoidable().map_err(|error| error.to_string())?,
            };
            if death == Death::Cancelled {
                return self.halted();
            }
            idle_deaths = if self.ended > before { 0 } else { idle_deaths + 1 };
            if idle_deaths == IDLE_DEATHS {
                return Err(death.to_string());
            }
        }
        Ok(())
    }

    /// The end of the run is no error of the lab's, unless the user made it.
    fn halted(&self) -> Result<(), String> {
        match self.run.campaign.cancelled.load(Ordering::Relaxed) {
            true => Err(Death::Cancelled.to_string()),
            false => Ok(()),
        }
    }

    /// Sees to it that there is something to do.
    fn take(&mut self) -> bool {
        if self.run.is_over() {
            self.batch.clear();
        } else if self.batch.is_empty() {
            self.batch = self.kernel.take(self.run);
        }
        !self.batch.is_empty()
    }

    /// Runs on this machine what it may run.
    fn run_on(&mut self, up: Up) -> Result<(), Death> {
        let Up { mut machine, release, features, start, boot } = up;
        let spec = self.kernel.job.spec.clone();
        self.run.observer.notify(Event::KernelUp { spec, release, features, start, boot });
        loop {
            machine.run(self.request())?;
            let fit = self.follow(&mut machine)?;
            // The machine is killed: nothing that it could still do matters.
            if !fit || self.run.campaign.isolation == Isolation::Single || !self.take() {
                return Ok(());
            }
        }
    }

    fn request(&self) -> protocol::Run {
        let campaign = self.run.campaign;
        protocol::Run {
            binary: self.batch.front().map(|test| test.binary.clone()).unwrap_or_default(),
            tests: self.batch.iter().map(|test| test.name.clone()).collect(),
            timeout_ms: u64::try_from(campaign.timeout.as_millis()).unwrap_or(u64::MAX),
            env: campaign.env.clone(),
            collect: campaign.collect.clone(),
            check: campaign.check,
        }
    }

    /// Takes note of what the agent says until it has done what it was asked to, or nothing more is to be done. Says
    /// whether the machine is fit for more tests.
    fn follow(&mut self, machine: &mut Machine) -> Result<bool, Death> {
        let timeout = self.run.campaign.timeout;
        let mut running: Option<(TestId, Instant)> = None;
        let (mut settling, mut late) = (false, 0);
        // To begin with a test, and to say that all are done, takes the agent less than a test may.
        let patience = timeout + AGENT_PATIENCE;
        let mut deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // A guest that talks without end is not given more time for it.
            late += usize::from(left.is_zero());
            if late > LATE_REPORTS {
                return Err(self.blame(running.as_ref(), Death::Nonsense("it talks without end".into())));
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
                    let (outcome, message) = weigh(judge(exit, output, &test, timeout), &side_effects);
                    self.end(outcome, Duration::from_micros(micros).min(took), message);
                    if side_effects.dirty || !self.earlier.is_empty() || self.run.is_over() {
                        return Ok(false);
                    }
                }
                Ok(Report::File { path, content })
                    if let Some((test, _)) = &running
                        && self.run.campaign.collect.is_some() =>
                {
                    if self.kernel.ration.allows(path.len() + content.len()) {
                        let test = test.clone();
                        self.run.observer.notify(Event::File { spec: spec(), test, path, content });
                    }
                }
                Ok(Report::Done) if running.is_none() && self.batch.is_empty() => return Ok(true),
                Ok(other) => {
                    let death = Death::nonsense(&format!("out of turn it said {other:?}"));
                    return Err(self.blame(running.as_ref(), death));
                }
                Err(death) => return Err(self.blame(running.as_ref(), death)),
            }
        }
    }

    /// The machine died: the test that was running, if any, is what it died of.
    fn blame(&mut self, running: Option<&(TestId, Instant)>, death: Death) -> Death {
        if let Some((_, begin)) = running
            && death != Death::Cancelled
        {
            let outcome = match death {
                Death::Silent { .. } => Outcome::TimedOut,
                _ => Outcome::Crashed,
            };
            self.end(outcome, begin.elapsed(), Some(death.to_string()));
        }
        death
    }

    /// Takes note of how it went with the first test of the batch. It stays there if it is to be run again.
    fn end(&mut self, outcome: Outcome, duration: Duration, message: Option<String>) {
        self.ended += 1;
        let spec = self.kernel.job.spec.clone();
        let message = message.map(|message| self.kernel.ration.cut(message));
        let Some(test) = self.batch.front().cloned() else { return };
        if outcome != Outcome::Passed && self.earlier.len() < self.run.campaign.retries {
            let attempt = Attempt { outcome, seconds: duration.as_secs_f64(), message };
            self.earlier.push(attempt.clone());
            self.run.observer.notify(Event::TestRetried { spec, test, attempt });
            return;
        }
        if outcome != Outcome::Passed {
            self.run.note_failure();
        }
        self.batch.pop_front();
        let earlier = std::mem::take(&mut self.earlier);
        let passed_late = outcome == Outcome::Passed && !earlier.is_empty();
        let outcome = if passed_late { Outcome::Flaky } else { outcome };
        self.run.observer.notify(Event::TestEnded { spec, test, outcome, duration, message, earlier });
    }
}
