//! Kernels that are ready to be booted, each with its machine.

mod accelerate;
mod machines;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use hooklab_vm::event::{Event, KernelError, Observer};
use hooklab_vm::host::digest::{hex, sha256};
use hooklab_vm::kernel::{Kernel, Kernels, Source, Spec};
use hooklab_vm::machine::Plan;
use hooklab_vm::qemu::accelerator::{Accelerator, Choice};
use hooklab_vm::qemu::command_line::CommandLine;
use hooklab_vm::runner::Job;

use crate::kernels::failed_to;
use crate::lab::Lab;
use crate::setup;

pub use accelerate::settle;
pub use machines::at_once;

/// All guests of a command.
pub struct Guests {
    /// All kernels that were asked for, as the user named them.
    names: Vec<String>,
    ready: Vec<Ready>,
    /// The others, and why they are not available.
    missing: Vec<Missing>,
    /// What they run with; KVM stands for the processor where there is no machine.
    pub accelerator: Accelerator,
}

/// A kernel that is not available: its spec, and why.
type Missing = (String, String);

/// A kernel that is ready to run tests.
struct Ready {
    kernel: Kernel,
    /// The machine; `None` for the running kernel.
    command_line: Option<CommandLine>,
}

impl Guests {
    /// Gets kernels, an accelerator, and QEMU's command lines. A kernel that is not available does not stop the
    /// others; an error if none can.
    pub fn ready(
        lab: &Lab,
        kernels: &Kernels,
        specs: &[Spec],
        choice: Choice,
        agent: &Path,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let tools = if specs == [Spec::Host] { None } else { Some(setup::tools(lab)?) };
        if tools.as_ref().is_some_and(|tools| !tools.sandbox) {
            let note = "QEMU runs without its sandbox, which this one, or this kernel, does not have";
            observer.notify(Event::Note(note.into()));
        }
        let (kernels, missing) = obtain(lab, kernels, specs, observer)?;
        let booted = kernels.iter().find(|kernel| kernel.source != Source::Host);
        let accelerator = match (&tools, booted) {
            (Some(tools), Some(kernel)) => settle(lab, choice, tools, kernel, agent, observer)?,
            _ => Accelerator::Kvm,
        };
        let ready = |kernel: Kernel| {
            let command_line = match (&kernel.source, &tools) {
                (Source::Image { image, .. }, Some(tools)) => {
                    let command_line =
                        CommandLine::from_virtme_ng(tools, image, &kernel.id, accelerator, &lab.cache);
                    lab.check_interrupt()?;
                    Some(command_line.map_err(failed_to)?)
                }
                _ => None,
            };
            Ok(Ready { kernel, command_line })
        };
        let ready = kernels.into_iter().map(ready).collect::<Result<_>>()?;
        Ok(Self { names: specs.iter().map(Spec::to_string).collect(), ready, missing, accelerator })
    }

    /// The same guests, whose kernels get `text` at the end of their command lines.
    #[must_use]
    pub fn with_append(mut self, text: Option<&str>) -> Self {
        if let Some(text) = text {
            for ready in &mut self.ready {
                ready.command_line = ready.command_line.take().map(|line| line.with_append(text));
            }
        }
        self
    }

    /// The kernels, as the user named them.
    pub fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    /// Says of those that are not available that no more will come from them; whether there are any.
    pub fn report_missing(&self, tests: usize, observer: &dyn Observer) -> bool {
        for (spec, error) in &self.missing {
            let (spec, error) = (spec.clone(), Some(KernelError::Failed(error.clone())));
            observer.notify(Event::KernelStarted { spec: spec.clone(), tests });
            observer.notify(Event::KernelEnded { spec, error, wall: Duration::ZERO });
        }
        !self.missing.is_empty()
    }

    /// What there is to do on each.
    pub fn jobs<'a>(&'a self, lab: &Lab, agent: &'a Path) -> Vec<Job<'a>> {
        let job = |ready: &'a Ready| {
            let plan = match (&ready.command_line, &ready.kernel.source) {
                (Some(command_line), Source::Image { modules, .. }) => {
                    Plan::Boot { command_line, agent, modules }
                }
                _ => Plan::Host { agent },
            };
            Job { spec: ready.kernel.spec.clone(), plan, log: log_path(lab, &ready.kernel.spec) }
        };
        self.ready.iter().map(job).collect()
    }
}

/// Gets kernels ready to be booted; those that are not available come with why. An error if that is all of them, and when
/// the user has interrupted it.
fn obtain(
    lab: &Lab,
    kernels: &Kernels,
    specs: &[Spec],
    observer: &dyn Observer,
) -> Result<(Vec<Kernel>, Vec<Missing>)> {
    let obtained = kernels.obtain_all(specs, observer);
    lab.check_interrupt()?;
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for (spec, kernel) in specs.iter().zip(obtained) {
        match kernel {
            Ok(kernel) => there.push(kernel),
            Err(error) => missing.push((spec.to_string(), format!("{:#}", failed_to(error)))),
        }
    }
    match (&there[..], &missing[..]) {
        ([], [(_, error), ..]) => bail!("{error}"),
        _ => Ok((there, missing)),
    }
}

/// Where a kernel's console is kept. A spec may be a path, and long.
pub fn log_path(lab: &Lab, spec: &str) -> PathBuf {
    let plain = |character: char| character.is_ascii_alphanumeric() || ".-+*".contains(character);
    let mut name: String =
        spec.chars().map(|character| if plain(character) { character } else { '_' }).collect();
    if name != spec {
        // Its end tells most; what it was before tells it from others with the same end.
        let hash = hex(&sha256([spec])[..4]);
        name = format!("{}-{hash}", &name[name.len().saturating_sub(60)..]);
    }
    lab.work.join("logs").join(format!("{name}.log"))
}
