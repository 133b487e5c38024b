//! What `hooklab run` prints: what guests send, as it comes, one kernel after the other.
//!
//! Guests of several kernels run at the same time. What comes from one whose turn it is not yet waits, within bounds.

mod render;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hooklab_types::demo::{Ended, Message, Shown};
use hooklab_types::loader::LoaderKind;
use hooklab_vm::event::{Event, KernelError, Observer, Outcome};
use hooklab_vm::kernel::Spec;

use self::render::{Renderer, Text, printable};
use super::options::{Format, LoadArguments, WorkloadArguments};
use crate::exit::Exit;
use crate::naming::Naming;
use crate::report::lines::Lines;

/// Bytes that may wait for their turn, for each kernel.
const WAITING: usize = 16 << 20;

/// Longest line that a guest may send, in bytes: a message quotes a line of at most 16 KiB, and may need six bytes for each.
const LONGEST_LINE: usize = 256 << 10;

/// Prints what comes from guests.
pub(super) struct Printer {
    renderer: Renderer,
    state: Mutex<State>,
    /// Shows progress until the first output.
    progress: Mutex<Option<Box<dyn Observer + Send>>>,
    lines: Lines,
    command: String,
    timeout: u64,
}

struct State {
    /// The kernels in the order in which they are shown.
    order: Vec<String>,
    /// Whose turn it is.
    turn: usize,
    kernels: HashMap<String, Kernel>,
    exit: Exit,
}

/// What is known of a kernel.
#[derive(Default)]
struct Kernel {
    release: String,
    /// The beginning of a line whose end has not come yet.
    partial: String,
    waiting: Vec<Text>,
    waiting_bytes: usize,
    /// What did not fit.
    omitted: u64,
    /// The result, as the guest sent it.
    shown: Option<String>,
    failure: Option<String>,
    has_ended: bool,
}

impl Printer {
    pub(super) fn new(
        specs: &[Spec],
        loader: LoaderKind,
        load: &LoadArguments,
        workload: &WorkloadArguments,
        progress: Box<dyn Observer + Send>,
    ) -> Self {
        let command = workload.command.first().cloned().unwrap_or_default();
        let order: Vec<String> = specs.iter().map(Spec::to_string).collect();
        Self {
            renderer: Renderer {
                loader,
                is_json: load.format == Format::Json,
                is_prefixed: order.len() > 1,
                command: printable(&workload.command.join(" ")),
            },
            state: Mutex::new(State { order, turn: 0, kernels: HashMap::new(), exit: Exit::Success }),
            progress: Mutex::new(Some(progress)),
            lines: Lines::new(false, Naming::Plain),
            command: printable(&command),
            timeout: workload.timeout,
        }
    }

    /// How it went in all.
    pub(super) fn exit(&self) -> Exit {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).exit
    }

    /// Shows lines of a kernel, now or when it is its turn.
    fn show(&self, state: &mut State, spec: &str, texts: impl IntoIterator<Item = Text>) {
        let is_turn = state.order.get(state.turn).is_some_and(|current| current == spec);
        let kernel = state.kernels.entry(spec.to_owned()).or_default();
        for text in texts {
            if is_turn {
                self.end_progress();
                text.print();
            } else if kernel.waiting_bytes + text.len() <= WAITING {
                kernel.waiting_bytes += text.len();
                kernel.waiting.push(text);
            } else {
                kernel.omitted += 1;
            }
        }
    }

    fn end_progress(&self) {
        drop(self.progress.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Takes in output, line by line.
    fn take(&self, state: &mut State, spec: &str, text: &str) {
        let kernel = state.kernels.entry(spec.to_owned()).or_default();
        kernel.partial.push_str(text);
        let rest = kernel.partial.split_off(kernel.partial.rfind('\n').map_or(0, |end| end + 1));
        let lines = std::mem::replace(&mut kernel.partial, rest);
        // What is no message is of libtest's form, which the engine reads.
        let messages = lines.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
        let rendered = messages.map(|message| self.renderer.message(spec, &kernel.release, message));
        let texts: Vec<Text> = rendered.flatten().collect();
        if kernel.partial.len() > LONGEST_LINE {
            kernel.partial.clear();
        }
        self.show(state, spec, texts);
    }

    /// Shows how it ended with a kernel, and then those whose turn it is.
    fn end(&self, state: &mut State, spec: &str) {
        let kernel = state.kernels.entry(spec.to_owned()).or_default();
        kernel.has_ended = true;
        let (texts, exit) = self.conclude(spec, kernel);
        state.exit = worse(state.exit, exit);
        self.show(state, spec, texts);
        while let Some(current) = state.order.get(state.turn).cloned() {
            let kernel = state.kernels.entry(current.clone()).or_default();
            let (waiting, has_ended) = (std::mem::take(&mut kernel.waiting), kernel.has_ended);
            let omitted = std::mem::take(&mut kernel.omitted);
            self.show(state, &current, waiting);
            if omitted > 0 {
                self.show(state, &current, [self.renderer.omitted(&current, omitted)]);
            }
            if !has_ended {
                return;
            }
            state.turn += 1;
        }
    }

    /// The last lines of a kernel, and how it went.
    fn conclude(&self, spec: &str, kernel: &Kernel) -> (Vec<Text>, Exit) {
        let renderer = &self.renderer;
        let failed = |text: &str| (vec![renderer.error(spec, text)], Exit::Lab);
        if let Some(failure) = &kernel.failure {
            return failed(failure);
        }
        let Some(shown) = &kernel.shown else { return failed("the guest reported no result") };
        let Ok(shown) = serde_json::from_str::<Shown>(shown) else {
            return failed("what the guest reported is no result");
        };
        let mut texts = Vec::new();
        if shown.attached.is_none() {
            texts.push(renderer.nothing_attached(&kernel.release));
        }
        texts.extend(shown.error.lines().map(|line| renderer.said(spec, line)));
        let workload = shown.workload.as_ref().and_then(|ended| self.failure_of(ended));
        texts.extend(workload.as_ref().map(|why| renderer.error(spec, why)));
        let attached = shown.attached.as_ref().is_some_and(|attached| !attached.programs.is_empty());
        let exit = match shown.code {
            Some(0) if attached && workload.is_none() => Exit::Success,
            Some(2) => Exit::Usage,
            _ => Exit::TestsFailed,
        };
        (texts, exit)
    }

    /// Why the workload did not go well.
    fn failure_of(&self, ended: &Ended) -> Option<String> {
        let command = &self.command;
        match ended {
            Ended::Code(0) => None,
            Ended::Code(code) => Some(format!("{command} exited with {code}")),
            Ended::Signal(signal) => Some(format!("{command} was killed by signal {signal}")),
            Ended::TimedOut => {
                Some(format!("{command} did not end within {} s, and was killed", self.timeout))
            }
            Ended::Failed(why) => Some(format!("failed to run {command}: {why}")),
        }
    }
}

/// The worse of two.
fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit| match exit {
        Exit::Success => 0,
        Exit::TestsFailed => 1,
        Exit::Usage => 2,
        Exit::Lab => 3,
        Exit::Interrupted => 4,
    };
    if rank(other) > rank(one) { other } else { one }
}

impl Observer for Printer {
    fn notify(&self, event: Event) {
        let Ok(mut state) = self.state.lock() else { return };
        match event {
            Event::KernelUp { spec, release, .. } => {
                state.kernels.entry(spec).or_default().release = printable(&release);
            }
            Event::Output { spec, text, .. } => self.take(&mut state, &spec, &text),
            Event::File { spec, content, .. } => {
                state.kernels.entry(spec).or_default().shown = Some(content);
            }
            Event::TestEnded { spec, outcome, message, .. } if outcome != Outcome::Passed => {
                let failure = message.unwrap_or_default();
                state.kernels.entry(spec).or_default().failure = Some(failure);
            }
            Event::KernelEnded { error: Some(KernelError::Interrupted), .. } => self.end_progress(),
            Event::KernelEnded { spec, error, .. } => {
                if let Some(error) = error {
                    state.kernels.entry(spec.clone()).or_default().failure = Some(error.to_string());
                }
                self.end(&mut state, &spec);
            }
            other => {
                let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
                match progress.as_ref() {
                    Some(progress) => progress.notify(other),
                    None => self.lines.notify(other),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_lab_wins() {
        assert_eq!(worse(Exit::TestsFailed, Exit::Lab), Exit::Lab);
        assert_eq!(worse(Exit::Lab, Exit::Success), Exit::Lab);
        assert_eq!(worse(Exit::Success, Exit::TestsFailed), Exit::TestsFailed);
    }
}
