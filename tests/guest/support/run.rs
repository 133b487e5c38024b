//! `hooklab-loader`, attached or refusing.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use hooklab_types::loader;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::line::Line;
use super::{loads, payload};
use crate::hooks::Hook;

/// What the file name of a package ends in, in the payload.
const PACKAGE: &str = ".package.json";

/// A command line for the loader.
pub(crate) struct Run<'a> {
    loader: &'a str,
    object: &'a str,
    filter: Option<u32>,
    /// Whether the filter is set by the flag that all loaders have, whatever flags the package has.
    common_flag: bool,
    trace: bool,
    /// More arguments, before the object.
    arguments: &'a [&'a str],
}

/// A loader that said that its programs are live. When it is dropped, it is told to detach.
pub(crate) struct Attached {
    process: Child,
    output: BufReader<ChildStdout>,
    programs: Vec<Program>,
    not_attached: Vec<loader::NotAttached>,
}

/// A program, as the loader tells of it.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) attach: String,
}

impl<'a> Run<'a> {
    /// `object` is the name of a source in `ebpf/` or `tests/programs/` without its ending, or of a package with it.
    pub(crate) fn new(loader: &'a str, object: &'a str) -> Self {
        Self { loader, object, filter: None, common_flag: false, trace: false, arguments: &[] }
    }

    pub(crate) fn filter(self, pid: u32) -> Self {
        Self { filter: Some(pid), ..self }
    }

    pub(crate) fn by_common_flag(self) -> Self {
        Self { common_flag: true, ..self }
    }

    pub(crate) fn trace(self) -> Self {
        Self { trace: true, ..self }
    }

    pub(crate) fn arguments(self, arguments: &'a [&'a str]) -> Self {
        Self { arguments, ..self }
    }

    /// The file that the loader gets: of a program that is not said to be a package, what this loader takes.
    pub(crate) fn file(&self) -> String {
        let ending = match self.object.ends_with(PACKAGE) {
            true => "",
            false if self.kind().takes_packages() => PACKAGE,
            false => ".bpf.o",
        };
        format!("{}{ending}", self.object)
    }

    fn kind(&self) -> loader::LoaderKind {
        self.loader.parse().expect("a case names a loader that there is")
    }

    /// How its program hooks `write()`.
    pub(crate) fn hook(&self) -> &'static Hook {
        Hook::of_object(self.object)
    }

    /// Whether the loader keeps from calling write(2) while programs are attached, as all of ours do.
    pub(crate) fn is_silent(&self) -> bool {
        self.kind().is_silent()
    }

    /// Objects are named relative to the working directory, so that messages do not depend on where the payload is.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(payload::path("bin/hooklab-loader"));
        command.current_dir(payload::path("objects")).args(["run", "--loader", self.loader]);
        if self.trace {
            command.arg("--trace");
        }
        command.args(self.arguments);
        let filter = |flag: &str| self.filter.map(|pid| [flag.to_owned(), pid.to_string()]);
        // What comes after a package are flags of its own.
        match self.kind().takes_packages() && !self.common_flag {
            true => command.arg(self.file()).args(filter("--pid_filter").into_iter().flatten()),
            false => command.args(filter("--pid-filter").into_iter().flatten()).arg(self.file()),
        };
        command
    }

    /// Runs it until its programs are live.
    pub(crate) fn attach(&self) -> Attached {
        let mut command = self.command();
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start hooklab-loader");
        let mut output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("the loader prints text");
        if line.is_empty() {
            let status = process.wait().expect("it is our child");
            panic!("{command:?} did not attach: {status}");
        }
        let (programs, not_attached) = attached_programs(&line, self.loader);
        loads::note(&line);
        Attached { process, output, programs, not_attached }
    }

    /// Runs it and expects a refusal; see [`refusal_of`].
    pub(crate) fn refusal(&self) -> String {
        refusal_of(self.command())
    }
}

/// Runs a loader that must refuse, and gives its exit code and what it said.
pub(crate) fn refusal_of(command: Command) -> String {
    let assert = assert_cmd::Command::from_std(command).assert().failure().stdout("");
    let output = assert.get_output();
    let code = output.status.code().expect("a loader that refuses exits");
    format!("exit code {code}\n{}", String::from_utf8_lossy(&output.stderr))
}

/// Reads the line that says that the programs are live.
fn attached_programs(line: &str, name: &str) -> (Vec<Program>, Vec<loader::NotAttached>) {
    let Ok(loader::Line::Attached(attached)) = serde_json::from_str(line) else {
        panic!("the first line is not about attached programs: {line}")
    };
    assert_eq!(attached.loader.name(), name, "{line}");
    assert!(attached.programs.iter().all(|program| program.id > 0), "{line}");
    let programs = attached.programs.into_iter();
    let programs = programs.map(|loader::Program { name, attach, .. }| Program { name, attach }).collect();
    (programs, attached.not_attached)
}

impl Attached {
    pub(crate) fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// The functions that are not attached, each with the reason.
    pub(crate) fn not_attached(&self) -> Vec<(&str, &str)> {
        self.not_attached.iter().map(|program| (&*program.name, &*program.reason)).collect()
    }

    /// Ends its standard input and expects it to end well.
    pub(crate) fn detach(mut self) {
        drop(self.process.stdin.take());
        self.expect_success();
    }

    /// The same, and gives the trace lines that it printed.
    pub(crate) fn detach_and_read(mut self) -> Vec<Line> {
        drop(self.process.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("the loader prints text");
        self.expect_success();
        text.lines().map(|line| Line::parse(line).unwrap_or_else(|lost| panic!("{lost}"))).collect()
    }

    /// The same, of a loader with `--format json`.
    pub(crate) fn detach_and_read_events(mut self) -> Vec<loader::Line> {
        drop(self.process.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("the loader prints text");
        self.expect_success();
        text.lines()
            .map(|line| serde_json::from_str(line).expect("the loader prints lines of JSON"))
            .collect()
    }

    /// Sends a signal and expects it to end well.
    pub(crate) fn stop_with(mut self, signal: Signal) {
        self.send(signal);
        self.expect_success();
    }

    /// Kills it, so that it cannot tidy up.
    pub(crate) fn kill(mut self) {
        self.send(Signal::SIGKILL);
        let status = self.process.wait().expect("it is our child");
        assert!(!status.success(), "it ended before it was killed");
    }

    fn send(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).expect("a PID fits");
        kill(Pid::from_raw(pid), signal).expect("it still runs");
    }

    fn expect_success(&mut self) {
        let status = self.process.wait().expect("it is our child");
        assert!(status.success(), "the loader ended with {status}");
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
