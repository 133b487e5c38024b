//! Loads eBPF objects with one of several loaders and attaches their programs.
//!
//! Each loader is a file under `loaders/` and an implementation of [`Loader`]. The common
//! work happens before any loader runs: [`Object`] reads the file, unpacks a [`Package`], and finds the programs, their
//! hooks and the globals that can be set; [`preflight`] checks whether this process and this kernel support
//! them. So the same mistake gives the same message with every loader.

#[cfg(feature = "static")]
use hooklab_libelf as _;

pub mod cli;
mod cost;
pub mod demo;
pub mod error;
mod events;
pub mod explain;
#[doc(hidden)]
pub mod fuzzing;
pub mod globals;
pub mod hook;
mod loader;
pub mod loaders;
mod object;
mod output;
pub mod package;
mod place;
pub mod preflight;
pub mod run;
pub mod sibling;
mod trace;

use std::process::ExitCode;

pub use error::Error;
pub use hook::{Hook, HookKind};
pub use loader::{
    Assignment, AttachedProgram, Attachment, Attempt, Failure, Job, Loader, Place, Setting, Value,
};
pub use object::{Global, Object, Program};
pub use package::Package;

/// Reads the command line, runs, and turns an error into a message and an exit code.
pub fn main() -> ExitCode {
    if sibling::is_requested(std::env::args_os()) {
        return cli::exit(sibling::exec());
    }
    let kinds = loaders::ALL.iter().map(|loader| loader.kind()).chain(sibling::loaders());
    let matches = cli::command(kinds).get_matches();
    cli::exit(cli::execute(&matches, loaders::ALL))
}
