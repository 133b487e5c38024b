//! The results, collected from the events.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use hooklab_types::kernel::{Accelerator, Start};
use hooklab_types::report::{Cell, Kernel, KernelOutcome, Load, Report};
use hooklab_types::test::{Outcome, TestId};
use hooklab_vm::event::{Event, Observer};

use super::loads;
use crate::naming::{Name, Naming};

/// Builds a [`Report`] from events.
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
    pub fn report(&self, accelerator: Accelerator, wall: Duration, stopped: bool) -> Report {
        let mut kernels = Vec::new();
        if let Ok(mut found) = self.kernels.lock() {
            for spec in &self.order {
                let kernel = found.remove(spec).unwrap_or_else(|| Kernel::unknown(spec));
                kernels.push(self.finish(kernel, stopped));
            }
        }
        Report::new(accelerator, round(wall), kernels)
    }

    fn finish(&self, mut kernel: Kernel, stopped: bool) -> Kernel {
        for (test, _) in self.expected.iter().filter(|(_, ignored)| *ignored) {
            kernel.tests.push(self.cell(test, Outcome::Ignored, Duration::ZERO, None));
        }
        // Machines that share the tests end them in any order.
        let names =
            self.expected.iter().enumerate().map(|(place, (test, _))| (self.naming.read(test), place));
        let places: HashMap<Name, usize> = names.collect();
        kernel.tests.sort_by_cached_key(|cell| places.get(&Name::from(cell)));
        kernel.not_run = self.expected.len().saturating_sub(kernel.tests.len());
        if kernel.error.is_none() && kernel.not_run > 0 && !stopped {
            kernel.error = Some(format!("{} tests have no result", kernel.not_run));
        }
        kernel.outcome = match &kernel.error {
            Some(_) => KernelOutcome::Error,
            None if kernel.tests.iter().any(|cell| !cell.outcome.is_fine()) => KernelOutcome::Failed,
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
        let seconds = round(duration);
        Cell { binary, loader, program, seconds, message, ..Cell::new(&base, outcome) }
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
            Event::KernelUp { spec, release, features, start, boot } => self.with(&spec, |kernel| {
                kernel.starts += 1;
                kernel.release = Some(release);
                kernel.features = Some(features);
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
                kernel.error = error.map(|error| error.to_string());
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
    use hooklab_vm::event::KernelError;

    use super::*;
    use crate::exit::Exit;

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
        let error = error.map(|error| KernelError::Failed(error.to_owned()));
        Event::KernelEnded { spec: "6.12".into(), error, wall: Duration::from_secs(1) }
    }

    fn exit_after(events: Vec<Event>) -> Exit {
        exit_when(events, false)
    }

    fn exit_when(events: Vec<Event>, stopped: bool) -> Exit {
        let expected = [("a", false), ("b", false), ("c", true)].map(|(name, ignored)| (test(name), ignored));
        let collector = Collector::new(vec!["6.12".into()], expected.to_vec(), Naming::Plain);
        events.into_iter().for_each(|event| collector.notify(event));
        Exit::of(&collector.report(Accelerator::Tcg, Duration::from_secs(2), stopped))
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
