//! hooklab's command line: `cargo xtask COMMAND`.

mod build;
mod cli;
mod commands;
mod exit;
mod lab;
mod report;
mod selection;
mod setup;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit::Exit;
use crate::lab::Lab;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = Lab::find().and_then(|lab| match cli.command {
        Command::VmTest(command) => command.run(&lab),
        Command::Test(command) => command.run(&lab),
        Command::Setup(command) => command.run(&lab),
        Command::Build(command) => command.run(&lab),
        Command::Kernels(command) => command.run(&lab),
        Command::Shell(command) => command.run(&lab),
        Command::Bench(command) => command.run(&lab),
    });
    exit::code(done.unwrap_or_else(|error| Exit::from_error(&error)))
}
