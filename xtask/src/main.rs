//! The chores of this repository: `cargo xtask COMMAND`.

mod build;
mod checkout;
mod cli;
mod commands;
#[path = "../../tests/hooks.rs"]
#[expect(dead_code, reason = "a part of it is for the guest tests")]
mod hooks;
mod page;
mod programs;
mod rust;
mod selection;
mod snapshots;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use hooklab::commands::unless_interrupted;
use hooklab::exit::Exit;
use hooklab::lab::Lab;

use crate::checkout::Checkout;
use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    run(&cli.command).unwrap_or_else(|error| Exit::from_error(&error)).into()
}

fn run(command: &Command) -> Result<Exit> {
    let checkout = Checkout::find()?;
    let lab = Lab::open(checkout.project(), &checkout.work(), Box::new(checkout.clone()))?;
    let done = match command {
        Command::VmTest(command) => command.run(&checkout, &lab),
        Command::Test(command) => command.run(&checkout, &lab),
        Command::Setup(command) => command.run(&lab),
        Command::Build(command) => command.run(&checkout, &lab),
        Command::Bench(command) => command.run(&lab),
        Command::Soak(command) => command.run(&checkout, &lab),
        Command::Doc(command) => command.run(&checkout),
        Command::Common(command) => command.run(&lab),
    };
    unless_interrupted(&lab, done)
}
