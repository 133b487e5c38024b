//! The command line of `hooklab-loader`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use hooklab_types::loader::LoaderKind;

use crate::error::EXIT_CODES;
use crate::{Error, Loader, run};

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

const ABOUT_RUN: &str = "\
Attach all tracepoint programs of an eBPF object until standard input ends or SIGINT or SIGTERM comes.

Where each program goes is read from its section: `tp/CATEGORY/NAME` or `tracepoint/CATEGORY/NAME`. As soon as \
all of them are live, one line of JSON says so on standard output. Nothing here calls write(2) from then on, \
so a program that hooks write() never sees the loader; only ecli, another program, calls it by itself.";

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
        .arg(
            Arg::new("object")
                .value_name("OBJECT")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("A compiled eBPF object, such as minimal.bpf.o, or a package.json with one in it"),
        );
    Command::new("hooklab-loader")
        .about("Loads an eBPF object with one of several loaders and attaches its tracepoint programs")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(run)
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
    run::run(&run::Options {
        loader: *loader,
        object: matches.get_one::<PathBuf>("object").expect("clap requires it"),
        pid_filter: matches.get_one("pid-filter").copied(),
        trace: matches.get_flag("trace"),
    })
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
