//! `hooklab explain`: on which kernels the programs of objects load, and why not on the others.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use hooklab_types::explain::{DIRECTORY, JOB_VARIABLE, Job, Unit};
use hooklab_types::loader::LoaderKind;
use hooklab_types::report::Report;
use hooklab_vm::TestId;
use hooklab_vm::event::Observer;
use hooklab_vm::host::write_whole;
use hooklab_vm::payload::{self, Payload};
use hooklab_vm::qemu::console::printable;
use hooklab_vm::runner::EnvVar;

use crate::campaign::{RunOptions, Work};
use crate::exit::{Exit, UsageError};
use crate::explain::answers::{self, Answers};
use crate::explain::expect;
use crate::explain::object::{self, Object};
use crate::kernels;
use crate::lab::{GuestPrograms, Lab};
use crate::naming::Naming;
use crate::program::{self, Kind, Program};
use crate::report::{self, explain, features, json, junit};
use crate::setup::{self, Purpose};

/// The helper in the payload.
const BINARY: &str = "explain";

/// The loaders that can be asked.
const LOADERS: [LoaderKind; 1] = [LoaderKind::Libbpf];

/// The most objects: their names travel in an environment variable.
const MOST_OBJECTS: usize = 500;

/// Show on which kernels programs load, and why not on the others
///
/// Each program of each object is loaded alone, so that one that is refused does not hide the others.
#[derive(Debug, Args)]
#[command(after_help = "\
In the table, `ok 53 +2` is a program that loads, with the instructions that the verifier processed and how many more
these are than on the kernel before. Where a program does not load, the kind of the cause stands in its place.

Examples:
  hooklab explain --all mine.bpf.c                 on every kernel of the catalog
  hooklab explain -k 5.10 -k newest --log mine.bpf.o
                                                   on two kernels, with the verifier's log of what is refused
  hooklab explain --attach -v mine.bpf.o           attach the programs as well, and show what they cost
  hooklab explain --all --json kept.json *.bpf.o   keep the results, and later
  hooklab explain --all --expect kept.json *.bpf.o fail only if something got worse")]
pub struct Explain {
    /// Programs in C (.bpf.c), or compiled eBPF objects
    #[arg(value_name = "PROGRAM", required = true)]
    programs: Vec<PathBuf>,
    /// Look for headers here, too, when a PROGRAM is compiled; may be repeated
    #[arg(short = 'I', long = "include", value_name = "DIR")]
    include: Vec<PathBuf>,
    /// What loads them: libbpf; may be repeated [default: libbpf]
    #[arg(short, long = "loader", value_name = "NAME")]
    loaders: Vec<LoaderKind>,
    /// Attach each program that loads, as far as the loader attaches its kind by itself
    #[arg(long)]
    attach: bool,
    /// Show the verifier's log of each program that it refuses
    #[arg(long)]
    log: bool,
    /// Compare with this report, which `explain --json` wrote, and fail only on what got worse
    #[arg(long, value_name = "PATH")]
    expect: Option<PathBuf>,
    #[command(flatten)]
    run: RunOptions,
}

impl Explain {
    /// Tries the programs on each kernel, and shows how far they came.
    ///
    /// # Errors
    /// What kept it from doing so.
    pub fn run(&self, lab: &Lab) -> Result<Exit> {
        let begin = Instant::now();
        let live = report::live(false, Naming::Plain);
        let observer = live.as_ref();
        let compiled = self.compile(lab, observer)?;
        let paths = self.programs.iter().zip(&compiled);
        let paths: Vec<&Path> =
            paths.map(|(named, made)| made.as_ref().map_or(&**named, |made| &*made.path)).collect();
        let objects = object::read_all(&self.programs, &paths)?;
        let units = self.units(&objects)?;
        let before = self.expect.as_deref().map(expect::read).transpose()?;
        let kernels = kernels::open(lab, &self.run.kernel_options)?;
        let specs = self.run.specs(&kernels)?;
        self.run.check_reports()?;
        if self.run.list {
            list(&objects);
            return Ok(Exit::Success);
        }
        setup::ensure(lab, &[Purpose::Run], &self.run.setup, observer)?;
        let programs = lab.guest_half.programs(lab, observer)?;
        let payload = pack(&programs, &objects, &units)?;
        let guests = self.run.guests(lab, &kernels, &specs, &programs.agent, observer)?;
        let job = Job { attach: self.attach, units: units.iter().map(|(_, unit)| unit.clone()).collect() };
        let work = Work {
            env: vec![EnvVar::text(JOB_VARIABLE, serde_json::to_string(&job)?)],
            collect: Some(DIRECTORY.into()),
            ..Work::new(payload, units.iter().map(|(_, unit)| (test(unit), false)).collect())
        };
        let answers = Answers::default();
        let mut report = self.run.run(lab, &guests, &programs.agent, &work, begin, &[observer, &answers])?;
        drop(live);
        answers::fill(&mut report, answers, BINARY, &objects, &units);
        let written = self.write_reports(&report);
        self.show(&report);
        let exit = conclude(&report, before.as_ref());
        written?;
        Ok(exit)
    }

    /// Compiles the programs in C; for the others there is none.
    fn compile(&self, lab: &Lab, observer: &dyn Observer) -> Result<Vec<Option<Program>>> {
        let compiled = self.programs.iter().map(|path| match program::kind(path) {
            Ok(kind @ Kind::Source(_)) => {
                setup::ensure(lab, kind.purposes(), &self.run.setup, observer)?;
                kind.prepare(lab, LoaderKind::Libbpf, &self.include, &self.run.kernel_options, observer)
                    .map(Some)
            }
            // What is no file is refused when it is read.
            _ => Ok(None),
        });
        compiled.collect()
    }

    /// Each object with each loader, as a test, with the object's place.
    fn units(&self, objects: &[Object]) -> Result<Vec<(usize, Unit)>, UsageError> {
        let loaders = if self.loaders.is_empty() { &LOADERS[..1] } else { &self.loaders };
        if let Some(other) = loaders.iter().find(|loader| !LOADERS.contains(loader)) {
            let names = LOADERS.map(LoaderKind::name).join(", ");
            return Err(UsageError(format!("explain does not load with {other}: it can use {names}")));
        }
        if objects.len() > MOST_OBJECTS {
            let message = format!("{} objects are too many: {MOST_OBJECTS} at a time", objects.len());
            return Err(UsageError(message));
        }
        let mut units = Vec::new();
        for (place, object) in objects.iter().enumerate() {
            for loader in loaders {
                let test =
                    if loaders.len() > 1 { format!("{} {loader}", object.name) } else { object.name.clone() };
                if units.iter().any(|(_, unit): &(usize, Unit)| unit.test == test) {
                    return Err(UsageError(format!("the loader {loader} is named twice")));
                }
                let file = object.path.file_name().unwrap_or_default().to_string_lossy();
                units.push((place, Unit { test, file: format!("objects/{place}/{file}"), loader: *loader }));
            }
        }
        Ok(units)
    }

    fn write_reports(&self, report: &Report) -> Result<()> {
        let markdown = |path: &PathBuf| Ok(write_whole(path, explain::markdown(report).as_bytes())?);
        let json = self.run.json.as_ref().map_or(Ok(()), |path| json::write(report, path));
        let junit = self.run.junit.as_ref().map_or(Ok(()), |path| junit::write(report, path));
        let markdown = self.run.markdown.as_ref().map_or(Ok(()), markdown);
        json.and(junit).and(markdown)
    }

    fn show(&self, report: &Report) {
        let width = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
        out!("{}", explain::table(report, width));
        let causes = explain::causes(report);
        if !causes.is_empty() {
            out!("\n{causes}");
        }
        if self.run.verbose {
            out!("\n{}\n\n{}", explain::costs(report), features::kernels(report));
        }
        if self.log {
            out!("{}", explain::logs(report).trim_end());
        }
    }
}

fn test(unit: &Unit) -> TestId {
    TestId { binary: BINARY.into(), name: unit.test.clone() }
}

fn list(objects: &[Object]) {
    for object in objects {
        for program in &object.programs {
            let words = [&object.name, &program.name, &program.section].map(|word| printable(word));
            out!("{}", words.join(" "));
        }
    }
}

/// The archive with the helper and the objects.
fn pack(programs: &GuestPrograms, objects: &[Object], units: &[(usize, Unit)]) -> Result<Payload> {
    let mut archive = payload::Builder::default();
    archive.add_program(BINARY, &programs.demo).context("failed to pack the payload")?;
    let mut added = Vec::new();
    for (object, unit) in units {
        if !added.contains(&unit.file) {
            let path = &objects[*object].path;
            archive.add(&unit.file, path).with_context(|| format!("failed to pack {}", path.display()))?;
            added.push(unit.file.clone());
        }
    }
    archive.finish().context("failed to pack the payload")
}

/// Shows the last lines, and says how to exit: with a report from before, only what got worse is a failure.
fn conclude(report: &Report, before: Option<&Report>) -> Exit {
    let exit = Exit::of(report);
    out!("\n{}", explain::verdict(report));
    let Some(before) = before else { return exit };
    let worse = expect::worse(before, report);
    for line in &worse {
        out!("worse on {}", printable(line));
    }
    if worse.is_empty() && exit != Exit::Lab {
        out!("nothing got worse");
    }
    match exit {
        Exit::Lab => Exit::Lab,
        _ if worse.is_empty() => Exit::Success,
        _ => Exit::TestsFailed,
    }
}
