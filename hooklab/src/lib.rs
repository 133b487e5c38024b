//! The tool that runs eBPF programs, and the tests of projects that use eBPF, on real Linux kernels.
//!
//! [`commands`] has its command line, a file for each command. A [`lab::Lab`] knows where things are and which programs
//! go into guests ([`guest_half`]): those installed beside the tool, or those of a checkout of hooklab, whose own chores
//! use this library. [`guests`] gets kernels ready; [`report`] has the readers of what happens then; [`setup`] installs
//! what is missing.

#[macro_use]
mod print;

pub mod campaign;
pub mod cargo;
mod command;
pub mod commands;
pub mod compile;
pub mod ecli;
pub mod exit;
pub mod explain;
mod extra;
pub mod guest_half;
pub mod guests;
pub mod kernels;
pub mod lab;
pub mod naming;
pub mod options;
pub mod program;
pub mod project;
pub mod report;
pub mod setup;
pub mod shard;
pub mod values;

use anyhow::{Context, Result};
use clap::Parser;

use commands::Cli;
use exit::Exit;
use guest_half::Installed;
use lab::Lab;
use project::Project;

/// Runs the tool with these words, the program's name first; clap ends the process where they are wrong.
pub fn main(words: impl IntoIterator<Item = std::ffi::OsString>) -> std::process::ExitCode {
    let cli = Cli::parse_from(words);
    let done = open().and_then(|lab| cli.command.run(&lab));
    done.unwrap_or_else(|error| Exit::from_error(&error)).into()
}

/// The lab, as it is where the tool is called.
fn open() -> Result<Lab> {
    let here = std::env::current_dir().context("failed to find the current directory")?;
    let work = cargo::target_directory(&here)
        .map_or_else(|| lab::cache().map(|cache| cache.join("work")), |target| Ok(target.join("hooklab")))?;
    Lab::open(Project::find(&here)?, &work, Box::new(Installed::beside_this_program()?))
}
