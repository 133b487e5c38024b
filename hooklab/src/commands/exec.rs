//! `hooklab exec`: a command of this host on kernels, with its exit code as the verdict.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use hooklab_types::report::Report;
use hooklab_vm::TestId;
use hooklab_vm::event::{Event, Observer};
use hooklab_vm::kernel::Spec;
use hooklab_vm::payload::{self, Payload};
use hooklab_vm::runner::{EnvVar, Invocation};

use crate::campaign::{RunOptions, Work, conclude};
use crate::command::Command;
use crate::exit::{Exit, UsageError};
use crate::extra::{self, Extra, in_root};
use crate::kernels;
use crate::lab::Lab;
use crate::naming::Naming;
use crate::report::{self, table};
use crate::setup::{self, Purpose};

/// Longest name of a command in reports, in characters.
const NAME: usize = 100;

/// Run a command of this host on kernels: its exit code is the verdict
///
/// A program brings its dynamic linker and libraries along, a script its interpreter; --file brings anything else. It runs
/// as root, in a directory with the path of the current one, which has nothing but these files. 0 is passed, 77 is
/// unsupported (the last line that it prints says why), any other exit code is failed; a signal is crashed. A command that
/// leaks into the kernel, or during which the kernel warns, does not pass. docs/guest.md says what a guest offers.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hooklab exec -k 5.10 -k 6.12 -- ./my-loader --once
  hooklab exec --all --junit out.xml --file filter.bpf.o -- ./my-loader filter.bpf.o
  hooklab exec -k lts --env RUST_LOG=debug --show-output -- ./check.sh
  hooklab exec -k 6.12 --file testdata:/srv/testdata -- ./go.test -test.run TestAttach")]
pub struct Exec {
    /// Bring a file or directory of this host along, as DEST: an absolute path in the guest, or one relative to COMMAND's
    /// directory; without it as PATH; may be repeated
    #[arg(long = "file", value_name = "PATH[:DEST]")]
    files: Vec<String>,
    /// Set an environment variable of COMMAND, or pass on the one that is set here; may be repeated
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable)]
    env: Vec<EnvVar>,
    /// Show what COMMAND prints where it passes, too
    #[arg(long)]
    show_output: bool,
    /// The command, with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// Where and how it runs.
    #[command(flatten)]
    run: RunOptions,
}

/// A variable, as `--env` has it.
fn variable(text: &str) -> Result<EnvVar, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => (text, std::env::var(text).map_err(|_| format!("there is no variable {text} here"))?),
    };
    match name {
        "" => Err("it has no name".into()),
        name => Ok(EnvVar::text(name, value)),
    }
}

impl Exec {
    /// Packs the command, boots kernels, runs it, reports.
    ///
    /// # Errors
    /// What kept it from doing so.
    pub fn run(&self, lab: &Lab) -> Result<Exit> {
        let begin = Instant::now();
        let kernels = kernels::open(lab, &self.run.kernel_options)?;
        let specs = self.run.specs(&kernels)?;
        self.run.check_reports()?;
        let here = std::env::current_dir().context("failed to find the current directory")?;
        let command = Command::find(&self.command)?.context("there is no command to run")?;
        let extras = self.extras(&specs, &here)?;
        let test = TestId { binary: command.path().display().to_string(), name: name(&self.command) };
        if self.run.list {
            specs.iter().for_each(|spec| out!("{spec} {}", test.name));
            return Ok(Exit::Success);
        }
        let payload = pack(&command, &extras)?;
        let live = report::live(true, Naming::Plain);
        setup::ensure(lab, &[Purpose::Run], &self.run.setup, live.as_ref())?;
        let agent = lab.guest_half.programs(lab, live.as_ref())?.agent;
        let guests = self.run.guests(lab, &kernels, &specs, &agent, live.as_ref())?;
        let directory = Some(directory(&here).display().to_string());
        let invocation = Invocation { arguments: self.command[1..].to_vec(), directory };
        let work = Work {
            whole: BTreeMap::from([(test.clone(), invocation)]),
            stream: self.show_output,
            env: self.env.clone(),
            ..Work::new(payload, vec![(test, false)])
        };
        let outputs = Outputs::default();
        let report = self.run.run(lab, &guests, &agent, &work, begin, &[live.as_ref(), &outputs])?;
        drop(live);
        let written = self.run.write_reports(&report);
        outputs.show(&report);
        self.run.show(lab, &report);
        let exit = conclude(&report);
        written?;
        Ok(exit)
    }

    fn extras(&self, specs: &[Spec], here: &Path) -> Result<Vec<Extra>> {
        if specs.contains(&Spec::Host) && !self.files.is_empty() {
            return Err(UsageError("--file needs a VM; it cannot be combined with -k host".into()).into());
        }
        let base = in_root(&directory(here));
        self.files.iter().map(|file| Extra::parse(file, &base)).collect()
    }
}

/// The directory in which the command starts: in a guest it has the path of the current one.
fn directory(here: &Path) -> PathBuf {
    if extra::is_of_guests(here) { "/".into() } else { here.to_owned() }
}

fn pack(command: &Command, extras: &[Extra]) -> Result<Payload> {
    let mut archive = payload::Builder::default();
    command.pack(&mut archive)?;
    extras.iter().try_for_each(|extra| extra.pack(&mut archive))?;
    extra::finish(archive, "COMMAND and its files, with their libraries,", "")
}

/// The command in reports: its words, on one line of limited length.
fn name(words: &[String]) -> String {
    let words: Vec<&str> = words.iter().flat_map(|word| word.split_whitespace()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(NAME) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line,
    }
}

/// What the command printed on each kernel the last time that it ran there.
#[derive(Default)]
struct Outputs(Mutex<HashMap<String, String>>);

impl Observer for Outputs {
    fn notify(&self, event: Event) {
        let mut outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::TestStarted { spec, .. } => drop(outputs.remove(&spec)),
            Event::Output { spec, text, .. } => outputs.entry(spec).or_default().push_str(&text),
            _ => {}
        }
    }
}

impl Outputs {
    /// Shows those of kernels on which the command did not fail; that of a failure is the reason of it.
    fn show(&self, report: &Report) {
        let outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for kernel in &report.kernels {
            let output =
                outputs.get(&kernel.spec).filter(|_| kernel.tests.iter().all(|cell| cell.outcome.is_fine()));
            if let Some(output) = output {
                out!("\noutput on {}:\n{}", kernel.spec, table::indented(output));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_a_name_of_one_line() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(name(&words(&["./loader", "--once"])), "./loader --once");
        assert_eq!(name(&words(&["sh", "-c", "true\n  false\n"])), "sh -c true false");
        assert_eq!(name(&words(&[&"ü".repeat(200)])), format!("{} ...", "ü".repeat(NAME)));
    }

    #[test]
    fn a_variable_has_a_name_and_a_value_of_its_own_or_of_this_process() {
        assert_eq!(variable("A=b=c").unwrap(), EnvVar::text("A", "b=c"));
        assert_eq!(variable("PATH").unwrap(), EnvVar::text("PATH", std::env::var("PATH").unwrap()));
        assert!(variable("=b").is_err());
        assert!(variable("NO_SUCH_VARIABLE").unwrap_err().contains("NO_SUCH_VARIABLE"));
    }

    #[test]
    fn a_directory_that_no_guest_could_have_is_not_asked_for() {
        assert_eq!(directory(Path::new("/home/me")), Path::new("/home/me"));
        assert_eq!(directory(Path::new("/proc/self")), Path::new("/"));
    }
}
