//! Progress on a terminal: a line for what is being done, a bar for each kernel.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use console::style;
use hooklab_vm::event::{Event, Observer, Outcome};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::table::outcome_word;
use crate::naming::Naming;

/// How often a bar moves while nothing else happens.
const TICK: Duration = Duration::from_millis(100);

/// Draws bars on standard error.
pub struct Progress {
    screen: MultiProgress,
    naming: Naming,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    step: Option<ProgressBar>,
    downloads: HashMap<String, ProgressBar>,
    kernels: HashMap<String, ProgressBar>,
}

impl Progress {
    /// Tests are shown by what `naming` reads in their names.
    pub fn new(naming: Naming) -> Self {
        Self { screen: MultiProgress::new(), naming, state: Mutex::default() }
    }

    fn say(&self, line: String) {
        // A terminal that is gone is no reason to stop.
        let _ = self.screen.println(line);
    }

    fn bar(&self, length: u64, template: &str) -> ProgressBar {
        let bar = self.screen.add(ProgressBar::new(length));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(TICK);
        bar
    }

    fn kernel_event(&self, state: &mut State, event: Event) {
        match event {
            Event::KernelStarted { spec, tests } => {
                let bar =
                    self.bar(tests as u64, "{prefix:8} [{bar:24}] {pos:>3}/{len} {elapsed:>4} {wide_msg}");
                bar.set_prefix(spec.clone());
                bar.set_message("booting");
                state.kernels.insert(spec, bar);
            }
            Event::KernelUp { spec, release, .. } => {
                if let Some(bar) = state.kernels.get(&spec) {
                    bar.set_message(release);
                }
            }
            Event::TestStarted { spec, test } => {
                if let Some(bar) = state.kernels.get(&spec) {
                    bar.set_message(self.naming.read(&test).to_string());
                }
            }
            Event::TestRetried { spec, test, attempt } => {
                let word = style(outcome_word(attempt.outcome)).yellow();
                self.say(format!("{word} {} on {spec}, to be run again", self.naming.read(&test)));
            }
            Event::TestEnded { spec, test, outcome, .. } => {
                if let Some(bar) = state.kernels.get(&spec) {
                    bar.inc(1);
                }
                // Of what the kernel does not support, the end tells how much there was.
                if !matches!(outcome, Outcome::Passed | Outcome::Unsupported) {
                    let word = style(outcome_word(outcome)).red().bold();
                    self.say(format!("{word} {} on {spec}", self.naming.read(&test)));
                }
            }
            Event::KernelEnded { spec, error, wall } => {
                if let Some(bar) = state.kernels.remove(&spec) {
                    bar.finish_and_clear();
                    let tests = format!("{}/{}", bar.position(), bar.length().unwrap_or_default());
                    let error = if error.is_some() { style(" ERROR").red().bold() } else { style("") };
                    self.say(format!("{spec:<8} {tests} tests in {:.1} s{error}", wall.as_secs_f64()));
                }
            }
            _ => {}
        }
    }

    fn download(&self, state: &mut State, name: &str, received: u64, total: u64) {
        let template = "{prefix} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec}";
        let bar = state.downloads.entry(name.to_owned()).or_insert_with(|| self.bar(total, template));
        bar.set_prefix(name.to_owned());
        bar.set_position(received);
        if total > 0 && received >= total {
            bar.finish_and_clear();
            state.downloads.remove(name);
        }
    }

    fn step(&self, state: &mut State, text: String) {
        let bar = state.step.get_or_insert_with(|| self.bar(0, "{spinner} {wide_msg}"));
        bar.set_message(text);
    }
}

impl Observer for Progress {
    fn notify(&self, event: Event) {
        let Ok(mut state) = self.state.lock() else { return };
        if matches!(event, Event::KernelStarted { .. } | Event::Note(_) | Event::Warning(_))
            && let Some(step) = state.step.take()
        {
            step.finish_and_clear();
        }
        match event {
            Event::Warning(text) => self.say(format!("{} {text}", style("warning:").yellow().bold())),
            Event::Note(text) => self.say(format!("{} {text}", style("note:").cyan())),
            Event::Step(text) => self.step(&mut state, text),
            Event::Download { name, received, total } => self.download(&mut state, &name, received, total),
            other => self.kernel_event(&mut state, other),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // Nothing half-drawn stays behind, also where an error ends the work.
        let _ = self.screen.clear();
    }
}
