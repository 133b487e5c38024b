//! hooklab's command line: `cargo xtask COMMAND`.

#[macro_use]
mod print;

mod build;
mod cargo;
mod cli;
mod commands;
mod ecli;
mod exit;
mod lab;
mod report;
mod selection;
mod setup;
mod shard;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit::Exit;
use crate::lab::Lab;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = Lab::find().and_then(|lab| run(&lab, cli.command));
    exit::code(done.unwrap_or_else(|error| Exit::from_error(&error)))
}

fn run(lab: &Lab, command: Command) -> Result<Exit> {
    let done = match command {
        Command::VmTest(command) => command.run(lab),
        Command::Test(command) => command.run(lab),
        Command::Setup(command) => command.run(lab),
        Command::Build(command) => command.run(lab),
        Command::Package(command) => command.run(lab),
        Command::Run(command) => command.run(lab),
        Command::Kernels(command) => command.run(lab),
        Command::Shell(command) => command.run(lab),
        Command::Bench(command) => command.run(lab),
        Command::Soak(command) => command.run(lab),
        Command::Report(command) => command.run(lab),
    };
    // What an interrupt made fail is no failure of its own.
    if done.is_err() {
        lab.check_interrupt()?;
    }
    done
}
