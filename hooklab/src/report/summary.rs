//! The results, collected from the events; also the form of the JSON report (docs/report.md).

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use hooklab_vm::TestId;
use hooklab_vm::event::{Attempt, Event, Facts, Observer, Outcome, Start};
use hooklab_vm::qemu::accelerator::Accelerator;
use serde::{Deserialize, Serialize};

use super::loads::{self, Load};
use crate::exit::Exit;
use crate::naming::{Name, Naming};
use crate::shard::Shard;

/// Of the form of the JSON report; a report with another one is of another hooklab.
pub const SCHEMA: u32 = 1;

/// All results of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Which part of the kernels this is, if not all; of merged ones none.
    #[serde(default)]
    pub shard: Option<Shard>,
    /// What the guests ran with.
    pub accelerator: Accelerator,
    /// From the start of the command to the results.
    pub wall_seconds: f64,
    /// In the order in which they were asked for.
    pub kernels: Vec<Kernel>,
}

/// One kernel's results.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kernel {
    /// What the user wrote.
    pub spec: String,
    /// What `uname -r` prints in the guest.
    pub release: Option<String>,
    /// What the kernel can do, from the guest itself.
    #[serde(default)]
    pub facts: Option<Facts>,
    /// How its machines came to run.
    pub start: Option<Start>,
    /// How it did.
    pub outcome: KernelOutcome,
    /// Why the lab could not do its job on it.
    pub error: Option<String>,
    /// From the start of QEMU until the agent was ready; the longest.
    pub boot_seconds: f64,
    /// From the start of the work on it to its end.
    pub wall_seconds: f64,
    /// Machines that were started for it: more than one where several shared its tests, or a guest died.
    pub starts: u32,
    /// Tests that were left out since a failure ended the run.
    pub not_run: usize,
    /// Its tests, in the order of their binaries.
    pub tests: Vec<Cell>,
}

impl Kernel {
    /// Before anything is known of it.
    pub fn unknown(spec: &str) -> Self {
        Self {
            spec: spec.to_owned(),
            release: None,
            facts: None,
            start: None,
            outcome: KernelOutcome::Error,
            error: None,
            boot_seconds: 0.0,
            wall_seconds: 0.0,
            starts: 0,
            not_run: 0,
            tests: Vec::new(),
        }
    }

    /// Tests that passed, but not at once.
    pub fn flaky(&self) -> usize {
        self.tests.iter().filter(|cell| cell.outcome == Outcome::Flaky).count()
    }
}

/// How a kernel did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KernelOutcome {
    /// Every test passed, or was left out.
    Passed,
    /// A test did not pass.
    Failed,
    /// The lab could not do its job on it.
    Error,
}

/// One test on one kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cell {
    /// The binary that has the test, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
    /// The name of the test, without what says the loader and program.
    pub name: String,
    /// The loader, if the test is one loader's.
    pub loader: Option<String>,
    /// The program, likewise.
    pub program: Option<String>,
    /// How it went.
    pub outcome: Outcome,
    /// How long it ran.
    pub seconds: f64,
    /// Why it did not pass.
    pub message: Option<String>,
    /// What it loaded, as far as it says so.
    #[serde(default)]
    pub loads: Vec<Load>,
    /// How it went before, if it was run again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Attempt>,
}

impl Cell {
    /// The test's name.
    fn parsed(&self) -> Name {
        Name {
            binary: self.binary.clone(),
            base: self.name.clone(),
            loader: self.loader.clone(),
            program: self.program.clone(),
        }
    }

    /// The test's name for a person.
    pub fn title(&self) -> String {
        self.parsed().to_string()
    }

    /// Whether it fails nothing.
    pub fn is_fine(&self) -> bool {
        matches!(self.outcome, Outcome::Passed | Outcome::Flaky | Outcome::Ignored)
    }
}

impl Summary {
    /// Cells that passed at once, did not pass, and were left out.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |wanted: &dyn Fn(&Cell) -> bool| {
            self.kernels.iter().flat_map(|kernel| &kernel.tests).filter(|cell| wanted(cell)).count()
        };
        let passed = count(&|cell| cell.outcome == Outcome::Passed);
        (passed, count(&|cell| !cell.is_fine()), count(&|cell| cell.outcome == Outcome::Ignored))
    }

    /// How the command ends: an error of the lab's wins over a failed test.
    pub fn exit(&self) -> Exit {
        let any = |outcome| self.kernels.iter().any(|kernel| kernel.outcome == outcome);
        if self.kernels.is_empty() || any(KernelOutcome::Error) {
            Exit::Lab
        } else if any(KernelOutcome::Failed) {
            Exit::TestsFailed
        } else {
            Exit::Success
        }
    }
}

/// Builds a [`Summary`] from events.
pub struct Collector {
    /// In the order of the kernels on the command line.
    kernels: Mutex<HashMap<String, Kernel>>,
    order: Vec<String>,
    /// What the tests that are running have loaded, by kernel and test.
    loads: Mutex<HashMap<(String, TestId), Vec<Load>>>,
    /// Tests, as their binary lists them, with whether they are ignored; each must have a result on each kernel.
    expected: Vec<(TestId, bool)>,
    naming: Naming,
}

impl Collector {
    /// Expects `tests` (each with whether it is ignored) on each of `kernels`.
    pub fn new(kernels: Vec<String>, tests: Vec<(TestId, bool)>, naming: Naming) -> Self {
        Self { kernels: Mutex::default(), order: kernels, loads: Mutex::default(), expected: tests, naming }
    }

    /// The results. A kernel on which an expected test has no result cannot have passed, unless a failure `stopped`
    /// the run early.
    pub fn summary(&self, accelerator: Accelerator, wall: Duration, stopped: bool) -> Summary {
        let mut kernels = Vec::new();
        if let Ok(mut found) = self.kernels.lock() {
            for spec in &self.order {
                let kernel = found.remove(spec).unwrap_or_else(|| Kernel::unknown(spec));
                kernels.push(self.finish(kernel, stopped));
            }
        }
        Summary { schema: SCHEMA, shard: None, accelerator, wall_seconds: round(wall), kernels }
    }

    fn finish(&self, mut kernel: Kernel, stopped: bool) -> Kernel {
        for (test, _) in self.expected.iter().filter(|(_, ignored)| *ignored) {
            kernel.tests.push(self.cell(test, Outcome::Ignored, Duration::ZERO, None));
        }
        // Machines that share the tests end them in any order.
        let names =
            self.expected.iter().enumerate().map(|(place, (test, _))| (self.naming.read(test), place));
        let places: HashMap<Name, usize> = names.collect();
        kernel.tests.sort_by_cached_key(|cell| places.get(&cell.parsed()));
        kernel.not_run = self.expected.len().saturating_sub(kernel.tests.len());
        if kernel.error.is_none() && kernel.not_run > 0 && !stopped {
            kernel.error = Some(format!("{} tests have no result", kernel.not_run));
        }
        kernel.outcome = match &kernel.error {
            Some(_) => KernelOutcome::Error,
            None if kernel.tests.iter().any(|cell| !cell.is_fine()) => KernelOutcome::Failed,
            None => KernelOutcome::Passed,
        };
        kernel
    }

    fn take_loads(&self, spec: &str, test: &TestId) -> Vec<Load> {
        let key = (spec.to_owned(), test.clone());
        self.loads.lock().ok().and_then(|mut loads| loads.remove(&key)).unwrap_or_default()
    }

    fn cell(&self, test: &TestId, outcome: Outcome, duration: Duration, message: Option<String>) -> Cell {
        let Name { binary, base, loader, program } = self.naming.read(test);
        let (seconds, loads, earlier) = (round(duration), Vec::new(), Vec::new());
        Cell { binary, name: base, loader, program, outcome, seconds, message, loads, earlier }
    }

    fn with(&self, spec: &str, change: impl FnOnce(&mut Kernel)) {
        if let Ok(mut kernels) = self.kernels.lock() {
            change(kernels.entry(spec.to_owned()).or_insert_with(|| Kernel::unknown(spec)));
        }
    }
}

impl Observer for Collector {
    fn notify(&self, event: Event) {
        match event {
            Event::KernelUp { spec, release, facts, start, boot } => self.with(&spec, |kernel| {
                kernel.starts += 1;
                kernel.release = Some(release);
                kernel.facts = Some(facts);
                // One that booted on the way to the others says more than they do.
                kernel.start = kernel.start.filter(|first| *first == Start::Boot).or(Some(start));
                kernel.boot_seconds = kernel.boot_seconds.max(round(boot));
            }),
            Event::File { spec, test, path, content } => {
                if let Ok(mut loads) = self.loads.lock() {
                    loads.entry((spec, test)).or_default().extend(loads::read(&path, &content));
                }
            }
            // Of a test that is run again, what it loads the last time counts.
            Event::TestRetried { spec, test, .. } => drop(self.take_loads(&spec, &test)),
            Event::TestEnded { spec, test, outcome, duration, message, earlier } => {
                let loads = self.take_loads(&spec, &test);
                let cell = Cell { loads, earlier, ..self.cell(&test, outcome, duration, message) };
                self.with(&spec, |kernel| kernel.tests.push(cell));
            }
            Event::KernelEnded { spec, error, wall } => self.with(&spec, |kernel| {
                kernel.error = error;
                kernel.wall_seconds = round(wall);
            }),
            _ => {}
        }
    }
}

/// Seconds, to the millisecond.
fn round(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(name: &str) -> TestId {
        TestId { binary: "guest".into(), name: name.into() }
    }

    fn ended(name: &str, outcome: Outcome) -> Event {
        let (spec, test) = ("6.12".to_owned(), test(name));
        Event::TestEnded {
            spec,
            test,
            outcome,
            duration: Duration::from_millis(5),
            message: None,
            earlier: Vec::new(),
        }
    }

    fn over(error: Option<&str>) -> Event {
        let error = error.map(str::to_owned);
        Event::KernelEnded { spec: "6.12".into(), error, wall: Duration::from_secs(1) }
    }

    fn exit_after(events: Vec<Event>) -> Exit {
        exit_when(events, false)
    }

    fn exit_when(events: Vec<Event>, stopped: bool) -> Exit {
        let expected = [("a", false), ("b", false), ("c", true)].map(|(name, ignored)| (test(name), ignored));
        let collector = Collector::new(vec!["6.12".into()], expected.to_vec(), Naming::Plain);
        events.into_iter().for_each(|event| collector.notify(event));
        collector.summary(Accelerator::Tcg, Duration::from_secs(2), stopped).exit()
    }

    #[test]
    fn all_that_was_expected_must_have_passed() {
        let (passed, failed) = (Outcome::Passed, Outcome::Failed);
        assert_eq!(exit_after(vec![ended("a", passed), ended("b", passed), over(None)]), Exit::Success);
        assert_eq!(exit_after(vec![ended("a", passed), ended("b", failed), over(None)]), Exit::TestsFailed);
        assert_eq!(exit_after(vec![ended("a", passed), over(None)]), Exit::Lab);
        assert_eq!(exit_after(vec![]), Exit::Lab);
    }

    #[test]
    fn an_error_of_the_lab_wins_over_a_failed_test() {
        assert_eq!(exit_after(vec![ended("a", Outcome::Failed), over(Some("not ready"))]), Exit::Lab);
    }

    #[test]
    fn after_an_early_end_what_did_not_run_is_no_error() {
        assert_eq!(exit_when(vec![ended("a", Outcome::Failed), over(None)], true), Exit::TestsFailed);
        assert_eq!(exit_when(vec![ended("a", Outcome::Failed), over(Some("not ready"))], true), Exit::Lab);
    }

    #[test]
    fn every_way_not_to_pass_fails() {
        for outcome in [Outcome::TimedOut, Outcome::Crashed, Outcome::Leaked] {
            assert_eq!(
                exit_after(vec![ended("a", outcome), ended("b", Outcome::Passed), over(None)]),
                Exit::TestsFailed
            );
        }
    }
}
