//! The command line of `hooklab-loader`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use hooklab_types::loader::LoaderKind;

use crate::error::EXIT_CODES;
use crate::{Assignment, Error, Loader, Place, run};

const EXAMPLES: &str = "\
Examples:
  Print the PID of every process that writes, until Ctrl-C:
      hooklab-loader run --loader libbpf --trace minimal.bpf.o
  Only those of the shell that this is typed into:
      hooklab-loader run --loader aya --trace --pid-filter $$ minimal.bpf.o
  The same by eunomia's engine, which takes packages, with the package's own flag:
      hooklab-loader run --loader eunomia --trace package.json --pid_filter $$
  The same by upstream's own program, which must be on PATH or be named by HOOKLAB_ECLI:
      hooklab-loader run --loader ecli --trace package.json --pid_filter $$";

/// The flags for loaders that attach what we choose, where we choose.
const FLAGS_OF_OBJECTS: [&str; 5] = ["set", "strict", "interface", "cgroup", "path"];

const ABOUT_RUN: &str = "\
Attach the programs of an eBPF object until standard input ends or SIGINT or SIGTERM comes.

Where each program goes is read from its section, as libbpf does: `tp/CATEGORY/NAME`, `kprobe/FUNCTION`, `xdp`. As soon as \
they are live, one line of JSON on standard output lists them, and those that could not be attached with the reason. Lines \
with what programs send through ring buffers and perf event arrays follow. Nothing here calls write(2) from then on, so a \
program that hooks write() never sees the loader; only ecli, another program, calls it by itself.";

/// Describes the command line for these loaders.
pub fn command(loaders: impl IntoIterator<Item = LoaderKind>) -> Command {
    let names = loaders.into_iter().map(LoaderKind::name);
    let run = Command::new("run")
        .about("Attach the programs of an eBPF object and keep them attached")
        .long_about(ABOUT_RUN)
        .after_help(EXIT_CODES)
        .after_long_help(format!("{EXAMPLES}\n\n{EXIT_CODES}"))
        .arg(
            Arg::new("loader")
                .long("loader")
                .short('l')
                .value_name("NAME")
                .required(true)
                .value_parser(PossibleValuesParser::new(names))
                .help("What loads and attaches; eunomia and ecli take packages only, and their flags after them"),
        )
        .arg(
            Arg::new("pid-filter")
                .long("pid-filter")
                .value_name("PID")
                .allow_negative_numbers(true)
                .value_parser(parse_pid)
                .help("Set the global `pid_filter` to this PID (of the initial PID namespace)"),
        )
        .arg(
            Arg::new("trace")
                .long("trace")
                .action(ArgAction::SetTrue)
                .help("Print what programs print, as it comes out of trace_pipe (which empties it)"),
        )
        .args(output_args())
        .args(place_args())
        .arg(
            Arg::new("set")
                .long("set")
                .value_name("NAME=VALUE")
                .action(ArgAction::Append)
                .value_parser(parse_assignment)
                .help("Set a global before loading: a number, true, an enumerator, {1,2,3}, or text; may be repeated"),
        )
        .arg(
            Arg::new("strict")
                .long("strict")
                .action(ArgAction::SetTrue)
                .help("Fail if any program cannot be attached, instead of attaching the others"),
        )
        .arg(
            Arg::new("object")
                .value_name("OBJECT")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("A compiled eBPF object, such as minimal.bpf.o, or a package.json with one in it"),
        );
    Command::new("hooklab-loader")
        .about("Loads an eBPF object with one of several loaders and attaches its programs")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(run)
}

/// What `run` prints besides the attached programs.
fn output_args() -> [Arg; 3] {
    [
        Arg::new("event")
            .long("event")
            .value_name("STRUCT")
            .help("Decode records of ring buffers and perf event arrays as this struct of the object's BTF"),
        Arg::new("maps")
            .long("maps")
            .action(ArgAction::SetTrue)
            .help("Print the contents of hash and array maps before detaching, at most 64 entries of each"),
        Arg::new("format")
            .long("format")
            .value_name("FORMAT")
            .value_parser(PossibleValuesParser::new(["text", "json"]))
            .default_value("text")
            .help("Print what follows the first line as text, or as one line of JSON each"),
    ]
}

/// Where programs go whose sections do not say it.
fn place_args() -> [Arg; 3] {
    [
        Arg::new("interface")
            .long("interface")
            .value_name("NAME")
            .default_value("lo")
            .help("Attach XDP and TC programs to this network interface"),
        Arg::new("cgroup")
            .long("cgroup")
            .value_name("PATH")
            .value_parser(value_parser!(PathBuf))
            .help("Attach cgroup programs to this cgroup [default: the root of cgroup2]"),
        Arg::new("path")
            .long("path")
            .value_name("PATH")
            .value_parser(value_parser!(PathBuf))
            .help("Attach uprobes whose section names no file to this one"),
    ]
}

/// The loader that the arguments of `run` name.
///
/// # Panics
/// If they are not those of [`command`], which lets only names of loaders through.
pub fn loader(matches: &ArgMatches) -> LoaderKind {
    let name: &String = matches.get_one("loader").expect("clap requires it");
    name.parse().expect("clap knows their names")
}

/// Executes the command line.
///
/// # Errors
///
/// Any [`Error`].
pub fn execute(matches: &ArgMatches, loaders: &[&dyn Loader]) -> Result<(), Error> {
    let Some(("run", matches)) = matches.subcommand() else {
        unreachable!("clap lets no other subcommand through")
    };
    let kind = loader(matches);
    let loader = loaders.iter().find(|loader| loader.kind() == kind).expect("clap knows their names");
    refuse_foreign_flags(matches, kind)?;
    run::run(&run::Options {
        loader: *loader,
        object: matches.get_one::<PathBuf>("object").expect("clap requires it"),
        pid_filter: matches.get_one("pid-filter").copied(),
        set: matches.get_many("set").unwrap_or_default().cloned().collect(),
        trace: matches.get_flag("trace"),
        event: matches.get_one::<String>("event").map(String::as_str),
        maps: matches.get_flag("maps"),
        json: matches.get_one::<String>("format").is_some_and(|format| format == "json"),
        strict: matches.get_flag("strict"),
        place: Place {
            interface: matches.get_one::<String>("interface").expect("it has a default").clone(),
            cgroup: matches.get_one("cgroup").cloned(),
            path: matches.get_one("path").cloned(),
        },
    })
}

/// Refuses flags that a loader of packages would ignore: it attaches by itself.
fn refuse_foreign_flags(matches: &ArgMatches, loader: LoaderKind) -> Result<(), Error> {
    let given = |flag: &&str| matches.value_source(flag) == Some(ValueSource::CommandLine);
    match FLAGS_OF_OBJECTS.iter().find(|flag| given(flag)) {
        Some(flag) if loader.takes_packages() => Err(Error::ForeignFlag { flag, loader }),
        _ => Ok(()),
    }
}

/// Prints what went wrong and its causes on one line, and returns the exit code.
pub fn exit(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            eprintln!("error: {:#}", anyhow::Error::from(error));
            ExitCode::from(code)
        }
    }
}

/// A PID is positive, and the kernel's own type for it is a signed integer of 32 bits.
fn parse_pid(text: &str) -> Result<NonZeroU32, String> {
    let pid: i64 = text.parse().map_err(|_| "a PID is a positive whole number".to_owned())?;
    u32::try_from(pid)
        .ok()
        .filter(|pid| i32::try_from(*pid).is_ok())
        .and_then(NonZeroU32::new)
        .ok_or_else(|| format!("a PID lies between 1 and {}", i32::MAX))
}

/// Splits `NAME=VALUE` at the first `=`.
fn parse_assignment(text: &str) -> Result<Assignment, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok(Assignment { name: name.to_owned(), value: value.to_owned() })
        }
        _ => Err("give a global and its value as NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command([LoaderKind::Aya, LoaderKind::Libbpf]).debug_assert();
    }

    #[test]
    fn pids_are_positive_and_fit() {
        assert_eq!(parse_pid("1").map(NonZeroU32::get), Ok(1));
        assert_eq!(parse_pid("2147483647").map(NonZeroU32::get), Ok(2_147_483_647));
        for text in ["0", "-1", "2147483648", "99999999999999999999", "", "x", "1.5", " 1"] {
            assert!(parse_pid(text).is_err(), "{text}");
        }
    }
}
