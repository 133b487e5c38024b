//! Settles on an accelerator, by a real boot where that is needed.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use hooklab_vm::event::{Event, Observer};
use hooklab_vm::kernel::{Kernel, Source};
use hooklab_vm::machine::Plan;
use hooklab_vm::qemu::accelerator::{self, Accelerator, Choice, Probe};
use hooklab_vm::qemu::command_line::{CommandLine, Tools};
use hooklab_vm::runner;

use crate::lab::Lab;

/// How long a kernel may take under KVM to show that KVM works.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// Settles on what `kernel`, and any other, will run with; `agent` is what the probe boots.
pub fn settle(
    lab: &Lab,
    choice: Choice,
    tools: &Tools,
    kernel: &Kernel,
    agent: &Path,
    observer: &dyn Observer,
) -> Result<Accelerator> {
    let probe = || match &kernel.source {
        Source::Host => Probe::Works,
        Source::Image { image, modules, .. } => {
            observer.notify(Event::Step("trying KVM".into()));
            let command_line =
                match CommandLine::from_virtme_ng(tools, image, &kernel.id, Accelerator::Kvm, &lab.cache) {
                    Ok(command_line) => command_line,
                    Err(error) => return Probe::Unknown(format!("{:#}", anyhow::Error::from(error))),
                };
            let plan = Plan::Boot { command_line: &command_line, agent, modules };
            match runner::probe(plan, PROBE_LIMIT, lab.cancelled.clone()) {
                // Somebody's own kernel may be at fault itself; Debian's boot everywhere else.
                Probe::Fails(why) if kernel.version.is_none() => Probe::Unknown(why),
                found => found,
            }
        }
    };
    let settled = accelerator::settle(choice, &tools.qemu_version, &lab.cache, probe);
    lab.check_interrupt()?;
    if let Some(note) = settled.note {
        observer.notify(Event::Note(note));
    }
    Ok(settled.accelerator)
}
