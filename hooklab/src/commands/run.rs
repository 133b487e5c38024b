//! `hooklab run`: one program in guests, and what it prints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use hooklab_types::demo::{self, Filter, Job, Shown};
use hooklab_types::loader::LoaderKind;
use hooklab_vm::TestId;
use hooklab_vm::event::{Event, Observer, Outcome};
use hooklab_vm::kernel::{Selector, Spec};
use hooklab_vm::payload::{self, Payload};
use hooklab_vm::qemu::console;
use hooklab_vm::runner::{self, Campaign, EnvVar, Isolation};

use crate::ecli::Ecli;
use crate::exit::{Exit, UsageError};
use crate::guests::{self, Guests};
use crate::kernels::{self, failed_to};
use crate::lab::{GuestPrograms, Lab};
use crate::options::{EcliOptions, MachineOptions};
use crate::report::{self, Fanout};
use crate::setup::{self, Purpose};
use crate::values;

/// The helper in the payload that runs the program.
const BINARY: &str = "demo";

/// Time limits for the program's run and for a guest to come up.
const LIMIT: Duration = Duration::from_secs(30);
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// What came back from a kernel.
#[derive(Default)]
struct Answer {
    release: String,
    shown: Option<String>,
    failure: Option<String>,
}

/// Collects the answers of all kernels, by their specs.
#[derive(Default)]
struct Answers(Mutex<BTreeMap<String, Answer>>);

/// Run one program in guests, and show what it prints
///
/// Two processes in the guest write: the first one three times, the other one twice.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hooklab run -k 6.12 target/tutorial/package.json
                                                   with eunomia's engine, as `ecli run package.json` does
  hooklab run -k 6.12 --pid-filter writer target/tutorial/package.json
                                                   the same for one process alone
  hooklab run -k 5.10 -k newest -l libbpf target/tutorial/minimal.bpf.o
                                                   an object, on two kernels
  hooklab run -l ecli --ecli ~/ecli/bin/ecli-rs target/tutorial/package.json
                                                   with upstream's own ecli")]
pub struct Run {
    /// A package.json, or a compiled object, with tracepoint programs
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// A kernel, or several, as for vm-test; may be repeated. The first of vm-test's own without it
    #[arg(short, long = "kernel", value_name = "SPEC", value_parser = values::kernels)]
    kernels: Vec<Selector>,
    /// Load the program with this loader [default: eunomia for a package, libbpf for an object]
    #[arg(short, long, value_name = "NAME", value_parser = values::loader())]
    loader: Option<LoaderKind>,
    #[command(flatten)]
    ecli: EcliOptions,
    /// Set the program's `pid_filter`: to a PID, or to that of the first of the two that write
    #[arg(long, value_name = "PID|writer", value_parser = values::pid)]
    pid_filter: Option<Filter>,
    #[command(flatten)]
    machine: MachineOptions,
}

impl Run {
    /// Runs the program on each kernel, and shows what it printed there.
    pub fn run(&self, lab: &Lab) -> Result<Exit> {
        let name = self.program_name()?;
        let kernels = kernels::open(lab, &self.machine.kernels)?;
        let specs = match self.kernels.is_empty() {
            true => kernels.defaults().into_iter().take(1).collect(),
            false => kernels.select_all(&self.kernels).map_err(failed_to)?,
        };
        if specs.contains(&Spec::Host) {
            return Err(UsageError("on the running kernel, use hooklab-loader itself".into()).into());
        }
        for spec in &specs {
            kernels.resolve(spec).map_err(failed_to)?;
        }
        let live = report::steps();
        let observer = live.as_ref();
        let ecli = match self.loader() {
            LoaderKind::Ecli => Some(Ecli::find(&self.ecli, observer)?.ok_or_else(Ecli::missing)?),
            _ => None,
        };
        setup::ensure(lab, &[Purpose::Run], &self.machine.setup, observer)?;
        let programs = lab.guest_half.programs(lab, observer)?;
        let payload = self.pack(&programs, &name, ecli.as_ref())?;
        let guests = Guests::ready(lab, &kernels, &specs, self.machine.accel, &programs.agent, observer)?;
        let answers = Answers::default();
        let saved = lab.saved()?;
        let campaign = Campaign {
            payload: &payload.archive,
            tests: vec![TestId { binary: BINARY.into(), name: demo::TEST.into() }],
            needs: BTreeMap::new(),
            env: self.environment(&name, &payload)?,
            collect: Some(demo::DIRECTORY.into()),
            timeout: LIMIT,
            boot_timeout: BOOT_LIMIT,
            machines: guests::at_once(),
            isolation: Isolation::Shared,
            check: false,
            stream: false,
            retries: 0,
            saved: Some(&saved),
            fail_fast: false,
            cancelled: lab.cancelled.clone(),
        };
        let fanout = Fanout(vec![observer, &answers]);
        guests.report_missing(campaign.tests.len(), &fanout);
        runner::run(&campaign, guests.jobs(lab, &programs.agent), &fanout);
        drop(live);
        lab.check_interrupt()?;
        self.show(&specs, answers)
    }

    fn loader(&self) -> LoaderKind {
        let is_package = self.program.extension().is_some_and(|extension| extension == "json");
        self.loader.unwrap_or(if is_package { LoaderKind::Eunomia } else { LoaderKind::Libbpf })
    }

    fn program_name(&self) -> Result<String> {
        if !self.program.is_file() {
            return Err(UsageError(format!("there is no file {}", self.program.display())).into());
        }
        let name = self.program.file_name().and_then(|name| name.to_str());
        Ok(name.ok_or_else(|| UsageError("the program's name is no text".into()))?.to_owned())
    }

    fn pack(&self, programs: &GuestPrograms, name: &str, ecli: Option<&Ecli>) -> Result<Payload> {
        let mut archive = payload::Builder::default();
        let mut add =
            |name: &str, path: &Path| archive.add_program(name, path).context("failed to pack the payload");
        for (loader, path) in &programs.loaders {
            add(&format!("bin/{loader}"), path)?;
        }
        add(BINARY, &programs.demo)?;
        archive
            .add(&format!("objects/{name}"), &self.program)
            .with_context(|| format!("failed to pack {}", self.program.display()))?;
        ecli.map_or(Ok(()), |ecli| ecli.pack(&mut archive))?;
        archive.finish().context("failed to pack the payload")
    }

    fn environment(&self, name: &str, payload: &Payload) -> Result<Vec<EnvVar>> {
        let (loader, program) = (self.loader(), name.to_owned());
        let job = serde_json::to_string(&Job { loader, program, filter: self.pid_filter })?;
        Ok(vec![EnvVar::text(demo::JOB_VARIABLE, job), payload.environment(), Ecli::environment()])
    }

    /// Prints the answers, in the order in which the kernels were named.
    fn show(&self, specs: &[Spec], answers: Answers) -> Result<Exit> {
        let mut answers = answers.0.into_inner().unwrap_or_default();
        let mut exit = Exit::Success;
        for spec in specs {
            let answer = answers.remove(&spec.to_string()).unwrap_or_default();
            match (answer.shown, answer.failure) {
                (_, Some(failure)) => {
                    err!("error: {spec}: {}", printable(&failure));
                    exit = Exit::Lab;
                }
                (None, None) => {
                    err!("error: {spec}: it did not answer");
                    exit = Exit::Lab;
                }
                (Some(shown), None) => {
                    let shown: Shown =
                        serde_json::from_str(&shown).context("failed to read what a guest sent")?;
                    let went_well = print(&answer.release, self.loader(), &shown);
                    if !went_well && exit == Exit::Success {
                        exit = Exit::TestsFailed;
                    }
                }
            }
        }
        Ok(exit)
    }
}

/// Prints one kernel's answer; says whether the program ran.
fn print(release: &str, loader: LoaderKind, shown: &Shown) -> bool {
    match &shown.attached {
        Some(attached) => {
            let places: Vec<String> = attached
                .programs
                .iter()
                .map(|program| printable(&format!("{} at {}", program.name, program.attach)))
                .collect();
            out!("{release}: {loader} attached {}", places.join(", "));
            let times = |actor: &demo::Actor| format!("{} has written {} times", actor.pid, actor.writes);
            out!("{}", shown.actors.iter().map(times).collect::<Vec<_>>().join(", "));
            for line in shown.trace.lines().filter(|line| !line.is_empty()) {
                out!("{}", printable(line));
            }
        }
        None => out!("{release}: {loader} attached nothing"),
    }
    for line in shown.error.lines() {
        err!("{}", printable(line));
    }
    shown.code == Some(0)
}

/// What a guest sends does not get at the user's terminal, and what is to be a line stays one.
fn printable(line: &str) -> String {
    console::printable(line).replace('\n', "\u{fffd}")
}

impl Observer for Answers {
    fn notify(&self, event: Event) {
        let Ok(mut answers) = self.0.lock() else { return };
        match event {
            Event::KernelUp { spec, release, .. } => answers.entry(spec).or_default().release = release,
            Event::File { spec, content, .. } => answers.entry(spec).or_default().shown = Some(content),
            Event::TestEnded { spec, outcome, message, .. } if outcome != Outcome::Passed => {
                answers.entry(spec).or_default().failure = Some(message.unwrap_or_default());
            }
            Event::KernelEnded { spec, error: Some(error), .. } => {
                answers.entry(spec).or_default().failure = Some(error.to_string());
            }
            _ => {}
        }
    }
}
