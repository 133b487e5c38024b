//! Reporters: readers of the lab's one stream of events.

pub mod collector;
pub mod explain;
pub mod features;
pub mod json;
pub mod junit;
pub mod lines;
pub mod loads;
pub mod markdown;
pub mod merge;
pub mod progress;
pub mod table;

use std::io::IsTerminal;

use hooklab_vm::event::{Event, Observer};

use crate::naming::Naming;

/// Passes every event on to several readers.
pub struct Fanout<'a>(pub Vec<&'a dyn Observer>);

impl Observer for Fanout<'_> {
    fn notify(&self, event: Event) {
        for reader in &self.0 {
            reader.notify(event.clone());
        }
    }
}

/// What shows a person how work goes that runs no tests.
pub fn steps() -> Box<dyn Observer + Send> {
    live(false, Naming::Plain)
}

/// What shows a person how the work goes: bars on a terminal, lines elsewhere.
pub fn live(verbose_lines: bool, naming: Naming) -> Box<dyn Observer + Send> {
    let terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    if terminal && std::env::var_os("TERM").is_none_or(|term| term != "dumb") {
        Box::new(progress::Progress::new(naming))
    } else {
        Box::new(lines::Lines::new(verbose_lines, naming))
    }
}
