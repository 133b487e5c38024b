//! `hooklab run`: one program in guests with a workload, and what it prints and sends.

mod options;
mod printer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use hooklab_types::demo::{self, Filter, Job, LoadOptions, Workload};
use hooklab_types::loader::LoaderKind;
use hooklab_vm::TestId;
use hooklab_vm::event::Observer;
use hooklab_vm::kernel::{Kernels, Selector, Spec};
use hooklab_vm::payload::{self, Payload};
use hooklab_vm::runner::{self, Campaign, EnvVar, Isolation};

use self::options::{LoadArguments, WorkloadArguments};
use self::printer::Printer;
use crate::command::Command;
use crate::ecli::Ecli;
use crate::exit::{Exit, UsageError};
use crate::extra::{self, Extra};
use crate::guests::{self, Guests};
use crate::kernels::{self, failed_to};
use crate::lab::{GuestPrograms, Lab};
use crate::options::{EcliOptions, MachineOptions};
use crate::program::{self, Program};
use crate::report;
use crate::setup;
use crate::values;

/// The helper in the payload that runs the program.
const BINARY: &str = "demo";

/// What loading, attaching and detaching may take beside the workload: a large program may keep a verifier busy.
const LOAD_LIMIT: Duration = Duration::from_secs(60);

/// Time limit for a guest to come up.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// Directory of the payload in which the command runs.
const WORK: &str = "work";

/// The flags of `hooklab run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hooklab run -k 6.12 execsnoop.bpf.c              compile it, attach it, run the built-in workload
  hooklab run -k 6.12 execsnoop.bpf.c -- ls -l     the same with a command of this host
  hooklab run -k 5.10 -k newest opensnoop.bpf.o --stimulus open --set min_us=0
                                                   an object on two kernels, one kind of system call, a global set
  hooklab run lsm.bpf.c --event event --format json
                                                   each record as one line of JSON
  hooklab run tc.bpf.o --interface lo --maps --duration 5
                                                   attached for five seconds, and its maps at the end
  hooklab run -k 6.12 --pid-filter writer target/tutorial/package.json
                                                   with eunomia's engine, as `ecli run package.json` does

Exit codes: 0 attached, and the workload went well; 1 nothing attached, or COMMAND failed; 2 wrong command line;
3 the lab could not do its job.")]
pub struct Run {
    /// A program in C (.bpf.c), a compiled object, or a package.json
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// A kernel, or several, as for vm-test; may be repeated. The first of vm-test's own without it
    #[arg(short, long = "kernel", value_name = "SPEC", value_parser = values::kernels)]
    kernels: Vec<Selector>,
    /// What loads it: aya, libbpf, or for packages eunomia or ecli. Without it eunomia for a package, libbpf for
    /// others
    #[arg(short, long, value_name = "NAME")]
    loader: Option<LoaderKind>,
    /// Look for headers here, too, when PROGRAM is compiled; may be repeated
    #[arg(short = 'I', long, value_name = "DIR")]
    include: Vec<PathBuf>,
    #[command(flatten)]
    ecli: EcliOptions,
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    workload: WorkloadArguments,
    #[command(flatten)]
    machine: MachineOptions,
}

/// What goes into guests.
struct Contents<'a> {
    program: &'a Program,
    command: Option<&'a Command>,
    extras: &'a [Extra],
    ecli: Option<&'a Ecli>,
}

impl Run {
    /// Runs the program on each kernel, and shows what it printed and sent there.
    pub fn run(&self, lab: &Lab) -> Result<Exit> {
        let kind = program::kind(&self.program)?;
        let loader = self.loader.unwrap_or(kind.loader());
        let command = Command::find(&self.workload.command)?;
        let parse = |file: &String| Extra::parse(file, Path::new(WORK));
        let extras = self.workload.files.iter().map(parse).collect::<Result<Vec<_>>>()?;
        self.check_filter()?;
        let kernels = kernels::open(lab, &self.machine.kernels)?;
        let specs = self.specs(&kernels)?;
        let live = report::steps();
        let observer = live.as_ref();
        let ecli = match loader {
            LoaderKind::Ecli => Some(Ecli::find(&self.ecli, observer)?.ok_or_else(Ecli::missing)?),
            _ => None,
        };
        setup::ensure(lab, kind.purposes(), &self.machine.setup, observer)?;
        let program = kind.prepare(lab, loader, &self.include, &self.machine.kernels, observer)?;
        let programs = lab.guest_half.programs(lab, observer)?;
        let contents =
            Contents { program: &program, command: command.as_ref(), extras: &extras, ecli: ecli.as_ref() };
        let payload = contents.pack(&programs)?;
        let guests = Guests::ready(lab, &kernels, &specs, self.machine.accel, &programs.agent, observer)?;
        let job = self.job(loader, &program, command.as_ref());
        let printer = Printer::new(&specs, loader, &self.load, &self.workload, live);
        run(lab, &guests, &programs.agent, &payload, &job, &printer)?;
        lab.check_interrupt()?;
        Ok(printer.exit())
    }

    fn specs(&self, kernels: &Kernels) -> Result<Vec<Spec>> {
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
        Ok(specs)
    }

    /// The PID that is meant must be that of a process that there is.
    fn check_filter(&self) -> Result<(), UsageError> {
        let why = match self.load.pid_filter {
            Some(Filter::Command) if self.workload.command.is_empty() => "there is no COMMAND",
            Some(Filter::Writer) if !self.workload.has_writers() => "no process of the workload writes",
            _ => return Ok(()),
        };
        Err(UsageError(format!("--pid-filter has no process to name: {why}")))
    }

    fn job(&self, loader: LoaderKind, program: &Program, command: Option<&Command>) -> Job {
        let milliseconds = |seconds: u64| seconds.saturating_mul(1000);
        Job {
            loader,
            program: program.name.clone(),
            filter: self.load.pid_filter,
            options: LoadOptions::from(&self.load),
            workload: match command {
                Some(command) => Workload::Command(command.words()),
                None => Workload::Stimuli(self.workload.stimuli()),
            },
            duration_ms: milliseconds(self.workload.duration),
            timeout_ms: milliseconds(self.workload.timeout),
        }
    }
}

/// Boots guests and runs the job in each, one kernel after the other as far as the output shows.
fn run(
    lab: &Lab,
    guests: &Guests,
    agent: &Path,
    payload: &Payload,
    job: &Job,
    observer: &dyn Observer,
) -> Result<()> {
    let saved = lab.saved()?;
    let limit = Duration::from_millis(job.timeout_ms.saturating_add(job.duration_ms));
    let campaign = Campaign {
        payload: &payload.archive,
        tests: vec![TestId { binary: BINARY.into(), name: demo::TEST.into() }],
        needs: BTreeMap::new(),
        whole: BTreeMap::new(),
        env: vec![
            EnvVar::text(demo::JOB_VARIABLE, serde_json::to_string(job)?),
            payload.environment(),
            Ecli::environment(),
        ],
        collect: Some(demo::DIRECTORY.into()),
        timeout: limit.saturating_add(LOAD_LIMIT),
        boot_timeout: BOOT_LIMIT,
        machines: guests::at_once(),
        isolation: Isolation::Shared,
        check: false,
        stream: true,
        retries: 0,
        saved: Some(&saved),
        fail_fast: false,
        cancelled: lab.cancelled.clone(),
    };
    guests.report_missing(campaign.tests.len(), observer);
    runner::run(&campaign, guests.jobs(lab, agent), observer);
    Ok(())
}

impl Contents<'_> {
    fn pack(&self, programs: &GuestPrograms) -> Result<Payload> {
        let mut archive = payload::Builder::default();
        let mut add =
            |name: &str, path: &Path| archive.add_program(name, path).context("failed to pack the payload");
        for (loader, path) in &programs.loaders {
            add(&format!("bin/{loader}"), path)?;
        }
        add(BINARY, &programs.demo)?;
        let Program { name, path, .. } = self.program;
        archive
            .add(&format!("objects/{name}"), path)
            .with_context(|| format!("failed to pack {}", path.display()))?;
        self.ecli.map_or(Ok(()), |ecli| ecli.pack(&mut archive))?;
        self.command.map_or(Ok(()), |command| command.pack(&mut archive))?;
        self.extras.iter().try_for_each(|extra| extra.pack(&mut archive))?;
        extra::finish(archive, "the program, COMMAND and files with their libraries", "")
    }
}
