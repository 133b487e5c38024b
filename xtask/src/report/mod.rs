//! Reporters: readers of the lab's one stream of events.

pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod knowledge;
pub(crate) mod lines;
pub(crate) mod loads;
pub(crate) mod markdown;
pub(crate) mod merge;
pub(crate) mod page;
pub(crate) mod progress;
pub(crate) mod snapshots;
pub(crate) mod summary;
pub(crate) mod table;

use std::io::IsTerminal;

use hooklab_vm::event::{Event, Observer};

/// Passes every event on to several readers.
pub(crate) struct Fanout<'a>(pub(crate) Vec<&'a dyn Observer>);

impl Observer for Fanout<'_> {
    fn notify(&self, event: Event) {
        for reader in &self.0 {
            reader.notify(event.clone());
        }
    }
}

/// What shows a person how the work goes: bars on a terminal, lines elsewhere.
pub(crate) fn live(verbose_lines: bool) -> Box<dyn Observer> {
    let terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    if terminal && std::env::var_os("TERM").is_none_or(|term| term != "dumb") {
        Box::new(progress::Progress::new())
    } else {
        Box::new(lines::Lines::new(verbose_lines))
    }
}
