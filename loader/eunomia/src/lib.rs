//! The loaders that take only packages: `eunomia` uses the engine of eunomia-bpf's `ecli`, the crate bpf-loader-lib;
//! `ecli` runs the upstream program itself.
//!
//! `hooklab-loader run --loader eunomia|ecli` executes this binary. The code that all loaders share is in
//! `hooklab-loader`; this crate adds the engine, and the flags that each package defines.

mod child;
mod ecli;
mod engine;
mod flags;
mod query;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::ValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command};
use hooklab_loader::error::EXIT_CODES;
use hooklab_loader::{Error, Loader, Object, cli};

use crate::ecli::EcliLoader;
use crate::engine::Eunomia;
use crate::flags::Flags;

const ABOUT_FLAGS: &str = "\
What follows the package, with `--` before it or not, sets variables of the program: `--NAME VALUE`. With a package, \
--help lists them";

/// Reads the command line, runs, and turns an error into a message and an exit code.
pub fn main() -> ExitCode {
    let mut command = command();
    let flags = |path: PathBuf| Flags::of(&Object::read(&path).ok()?, engine::KIND).ok();
    if let Some(flags) = package(&command).and_then(flags) {
        let help = format!("{}\n{EXIT_CODES}", flags.help());
        command = command.mut_subcommand("run", |run| run.after_help(help.clone()).after_long_help(help));
    }
    let matches = command.clone().get_matches();
    match loader(&mut command, &matches) {
        Ok(loader) => cli::exit(cli::execute(&matches, &[loader.as_ref()])),
        Err(error) => cli::exit(Err(error)),
    }
}

/// The common command line, followed by the flags of the package.
fn command() -> Command {
    let flags = Arg::new("flags")
        .value_name("FLAGS")
        .num_args(0..)
        .trailing_var_arg(true)
        .allow_hyphen_values(true)
        .value_parser(ValueParser::os_string())
        .help(ABOUT_FLAGS);
    cli::command([engine::KIND, ecli::KIND]).mut_subcommand("run", |run| run.arg(flags))
}

/// The package that the arguments name, even if they are wrong otherwise.
fn package(command: &Command) -> Option<PathBuf> {
    let lenient = command
        .clone()
        .ignore_errors(true)
        .disable_help_flag(true)
        .mut_subcommand("run", |run| run.disable_help_flag(true).ignore_errors(true));
    let matches = lenient.try_get_matches().ok()?;
    matches.subcommand_matches("run")?.try_get_one("object").ok()?.cloned()
}

/// The loader, with the values of the package's flags. Wrong flags end the process like any wrong command line.
fn loader(command: &mut Command, matches: &ArgMatches) -> Result<Box<dyn Loader>, Error> {
    let Some(("run", matches)) = matches.subcommand() else {
        unreachable!("clap lets no other subcommand through")
    };
    let path: &PathBuf = matches.get_one("object").expect("clap requires it");
    let words: Vec<OsString> = matches.get_many("flags").unwrap_or_default().cloned().collect();
    let kind = cli::loader(matches);
    let flags = Flags::of(&Object::read(path)?, kind)?;
    let values = flags.parse(words).unwrap_or_else(|error| error.exit());
    if values.names_filter() && matches.contains_id("pid-filter") {
        let message = "the flag --pid_filter of the package and --pid-filter cannot be used together";
        command.error(ErrorKind::ArgumentConflict, message).exit();
    }
    Ok(if kind == ecli::KIND { Box::new(EcliLoader::new(values)) } else { Box::new(Eunomia::new(values)) })
}
