//! `cargo xtask run`: one program in guests, and what it prints.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use hooklab_vm::console;
use hooklab_vm::event::{Event, Observer, Outcome};
use hooklab_vm::kernel::Spec;
use hooklab_vm::payload;
use hooklab_vm::run::{self, Campaign, Isolation};
use serde::Deserialize;

use super::guests::Guests;
use super::{machines, open_kernels};
use crate::build::{self, Artifacts, Programs};
use crate::cli::Run;
use crate::ecli::{self, Ecli};
use crate::exit::{Exit, UsageError};
use crate::lab::Lab;
use crate::report::{self, Fanout};
use crate::setup::{self, Purpose};

/// The binary in the payload that runs the program, the only test in it, and the folder it leaves its findings in
/// (`tests/demo/`).
const BINARY: &str = "demo";
const TEST: &str = "show";
const FOLDER: &str = "shown";

/// Time limits for the program's run and for a guest to come up.
const LIMIT: Duration = Duration::from_secs(30);
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// What `tests/demo/` tells.
#[derive(Deserialize)]
struct Shown {
    code: Option<i32>,
    attached: Option<Attached>,
    actors: Vec<Actor>,
    trace: String,
    error: String,
}

#[derive(Deserialize)]
struct Attached {
    programs: Vec<Program>,
}

#[derive(Deserialize)]
struct Program {
    name: String,
    attach: String,
}

#[derive(Deserialize)]
struct Actor {
    pid: u32,
    writes: u32,
}

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

impl Run {
    /// Runs the program on each kernel, and shows what it printed there.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Exit> {
        let name = self.program_name()?;
        let kernels = open_kernels(lab, &self.kernel_options)?;
        let specs = match self.kernels.is_empty() {
            true => kernels.defaults().into_iter().take(1).collect(),
            false => kernels.select_all(&self.kernels).map_err(super::failed_to)?,
        };
        if specs.contains(&Spec::Host) {
            return Err(UsageError("on the running kernel, use hooklab-loader itself".into()).into());
        }
        for spec in &specs {
            kernels.resolve(spec).map_err(super::failed_to)?;
        }
        let live = report::live(false);
        let observer = live.as_ref();
        let ecli = match self.loader() {
            ecli::LOADER => Some(Ecli::find(&self.ecli, observer)?.ok_or_else(Ecli::missing)?),
            _ => None,
        };
        setup::ensure(lab, Purpose::Run, &self.setup, observer)?;
        let artifacts = build::build(lab, &Programs::default(), observer)?;
        let payload = self.pack(&artifacts, &name, ecli.as_ref())?;
        let guests = Guests::ready(lab, &kernels, &specs, self.accel, &artifacts.agent, observer)?;
        let answers = Answers::default();
        let saved = lab.saved()?;
        let campaign = Campaign {
            payload: &payload,
            binary: BINARY.into(),
            tests: vec![TEST.into()],
            env: self.environment(&name),
            collect: Some(FOLDER.into()),
            timeout: LIMIT,
            boot_timeout: BOOT_LIMIT,
            machines: machines::at_once(),
            isolation: Isolation::Shared,
            check: false,
            retries: 0,
            saved: Some(&saved),
            fail_fast: false,
            cancelled: lab.cancelled.clone(),
        };
        let fanout = Fanout(vec![observer, &answers]);
        guests.report_missing(campaign.tests.len(), &fanout);
        run::run(&campaign, guests.jobs(lab, &artifacts.agent), &fanout);
        drop(live);
        lab.check_interrupt()?;
        self.show(&specs, answers)
    }

    fn loader(&self) -> &str {
        let is_package = self.program.extension().is_some_and(|extension| extension == "json");
        self.loader.as_deref().unwrap_or(if is_package { "eunomia" } else { "libbpf" })
    }

    fn program_name(&self) -> Result<String> {
        if !self.program.is_file() {
            return Err(UsageError(format!("there is no file {}", self.program.display())).into());
        }
        let name = self.program.file_name().and_then(|name| name.to_str());
        Ok(name.ok_or_else(|| UsageError("the program's name is no text".into()))?.to_owned())
    }

    fn pack(&self, artifacts: &Artifacts, name: &str, ecli: Option<&Ecli>) -> Result<Vec<u8>> {
        let mut archive = payload::Builder::default();
        let mut add = |name: &str, path: &Path| archive.add(name, path).context("failed to pack the payload");
        for program in &artifacts.programs {
            add(&format!("bin/{}", program.file_name().unwrap_or_default().to_string_lossy()), program)?;
        }
        add(BINARY, &artifacts.demo)?;
        add(&format!("objects/{name}"), &self.program)?;
        ecli.map_or(Ok(()), |ecli| ecli.pack(&mut archive))?;
        archive.finish().context("failed to pack the payload")
    }

    fn environment(&self, name: &str) -> Vec<(String, String)> {
        let values = [
            ("LOADER", self.loader().to_owned()),
            ("PROGRAM", name.to_owned()),
            ("FILTER", self.pid_filter.clone().unwrap_or_default()),
        ];
        let demo = values.map(|(name, value)| (format!("HOOKLAB_DEMO_{name}"), value));
        demo.into_iter().chain([Ecli::environment()]).collect()
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
fn print(release: &str, loader: &str, shown: &Shown) -> bool {
    match &shown.attached {
        Some(attached) => {
            let places: Vec<String> = attached
                .programs
                .iter()
                .map(|program| printable(&format!("{} at {}", program.name, program.attach)))
                .collect();
            out!("{release}: {loader} attached {}", places.join(", "));
            let times = |actor: &Actor| format!("{} has written {} times", actor.pid, actor.writes);
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
                answers.entry(spec).or_default().failure = Some(error);
            }
            _ => {}
        }
    }
}
