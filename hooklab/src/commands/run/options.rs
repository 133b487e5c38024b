//! Flags of `hooklab run`: how the program is loaded, and what runs meanwhile.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use hooklab_types::demo::{Filter, LoadOptions, Stimulus};

use crate::values;

/// How the program is loaded, and what is shown of it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Loading")]
pub(super) struct LoadArguments {
    /// Set the program's `pid_filter`: to a PID, to that of the first process that writes, or to that of COMMAND
    #[arg(long, value_name = "PID|writer|command", value_parser = values::pid)]
    pub(super) pid_filter: Option<Filter>,
    /// Set a global before loading: a number, true, an enumerator, {1,2,3}, or text; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<String>,
    /// Attach XDP and TC programs to this network interface of the guest; lo without it
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Attach cgroup programs to this cgroup of the guest; the root without it
    #[arg(long, value_name = "PATH")]
    cgroup: Option<String>,
    /// Attach uprobes whose section names no file to this one, as the guest has it
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Decode records of ring buffers and perf buffers as this struct of the program's BTF
    #[arg(long, value_name = "STRUCT")]
    event: Option<String>,
    /// Show the program's maps at the end
    #[arg(long)]
    maps: bool,
    /// Fail if any program cannot be attached, instead of attaching the others
    #[arg(long)]
    strict: bool,
    /// How to print what the program prints and sends: as text, or as a line of JSON for each, with its kernel; all else
    /// goes to standard error then
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: Format,
}

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    // Without descriptions: they would only repeat the names.
    Text,
    Json,
}

/// What runs while the program is attached.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Workload")]
pub(super) struct WorkloadArguments {
    /// Only these system calls of the built-in workload; may be repeated
    #[arg(long = "stimulus", value_name = "NAME", value_parser = stimulus(), conflicts_with = "command")]
    stimuli: Vec<Stimulus>,
    /// Keep the program attached for at least this long
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub(super) duration: u64,
    /// Kill COMMAND after this long
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) timeout: u64,
    /// Bring a file or directory of this host along, as DEST: an absolute path in the guest, or one relative to COMMAND's
    /// directory; without it as PATH; may be repeated
    #[arg(long = "file", value_name = "PATH[:DEST]")]
    pub(super) files: Vec<String>,
    /// A command of this host to run in the guest, with its arguments: a program, which brings its libraries along, or a
    /// script, which brings its interpreter; without it the built-in workload
    #[arg(last = true, value_name = "COMMAND")]
    pub(super) command: Vec<String>,
}

impl WorkloadArguments {
    /// The built-in workload.
    pub(super) fn stimuli(&self) -> Vec<Stimulus> {
        if self.stimuli.is_empty() { Stimulus::ALL.to_vec() } else { self.stimuli.clone() }
    }

    /// Whether there are the two processes that write.
    pub(super) fn has_writers(&self) -> bool {
        self.command.is_empty() && self.stimuli().contains(&Stimulus::Write)
    }
}

impl From<&LoadArguments> for LoadOptions {
    fn from(arguments: &LoadArguments) -> Self {
        let LoadArguments { set, interface, cgroup, path, event, maps, strict, .. } = arguments.clone();
        Self { interface, cgroup, path, set, event, maps, strict }
    }
}

/// Names of stimuli, each with what it does, for clap to list.
fn stimulus() -> impl TypedValueParser<Value = Stimulus> {
    let values = Stimulus::ALL.map(|stimulus| PossibleValue::new(stimulus.name()).help(stimulus.calls()));
    PossibleValuesParser::new(values).try_map(|name| {
        let found = Stimulus::ALL.into_iter().find(|stimulus| stimulus.name() == name);
        found.ok_or("there is no such stimulus")
    })
}

fn assignment(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.to_owned()),
        _ => Err("give a global and its value as NAME=VALUE".into()),
    }
}
