//! Plain lines, for pipes and logs: one for each thing that happens.

use std::collections::HashSet;
use std::io::Write;
use std::sync::Mutex;

use hooklab_vm::event::{Event, KernelError, Observer};

use super::table::{outcome_word, seconds};
use crate::naming::Naming;

/// Prints lines: results to standard output, all else to standard error.
pub struct Lines {
    results: bool,
    naming: Naming,
    steps: Mutex<HashSet<String>>,
}

impl Lines {
    /// With `results`, tests and kernels are printed as well as the work that leads to them.
    pub fn new(results: bool, naming: Naming) -> Self {
        Self { results, naming, steps: Mutex::default() }
    }

    /// A step is printed once: builds report each crate, downloads each chunk, and several go on side by side.
    fn step(&self, text: &str) {
        let headline = text.split(':').next().unwrap_or_default().to_owned();
        if let Ok(mut steps) = self.steps.lock()
            && !steps.contains(&headline)
        {
            err!("{headline}");
            steps.insert(headline);
        }
    }

    fn result(&self, text: &str) {
        if self.results {
            // A reader that has gone away is no reason to stop: the exit code still tells.
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }
}

impl Observer for Lines {
    fn notify(&self, event: Event) {
        match event {
            Event::Warning(text) => err!("warning: {text}"),
            Event::Note(text) => err!("note: {text}"),
            Event::Step(text) => self.step(&text),
            Event::Download { name, .. } => self.step(&format!("downloading {name}")),
            Event::KernelUp { spec, release, boot, .. } => {
                self.result(&format!("{spec:<8} up      {} {release}", seconds(boot.as_secs_f64())));
            }
            Event::TestRetried { spec, test, attempt } => {
                let (word, took) = (outcome_word(attempt.outcome), seconds(attempt.seconds));
                self.result(&format!(
                    "{spec:<8} {word:<7} {took} {} (to be run again)",
                    self.naming.read(&test)
                ));
            }
            // Why a test did not pass is told at the end, where a reader looks first.
            Event::TestEnded { spec, test, outcome, duration, .. } => {
                let (word, took) = (outcome_word(outcome), seconds(duration.as_secs_f64()));
                self.result(&format!("{spec:<8} {word:<7} {took} {}", self.naming.read(&test)));
            }
            // An interrupt is told of once, for the whole command.
            Event::KernelEnded { spec, error: Some(KernelError::Failed(_)), .. } => {
                self.result(&format!("{spec:<8} error"));
            }
            _ => {}
        }
    }
}
