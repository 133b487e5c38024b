//! `report` and its command.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Work with the JSON reports of vm-test
#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(subcommand)]
    pub(crate) command: ReportCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// Join the reports of several runs into one, and show and judge it as vm-test would
    Merge(Merge),
}

/// Join the reports of several runs into one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask report merge 1.json 2.json --json all.json
  cargo xtask report merge --all --format markdown results/*.json >> $GITHUB_STEP_SUMMARY")]
pub(crate) struct Merge {
    /// Reports that `vm-test --json` wrote, of different kernels
    #[arg(value_name = "PATH", required = true)]
    pub(crate) reports: Vec<PathBuf>,
    /// Expect every kernel in vm/kernels.toml: one without a report is an error of the lab
    #[arg(long)]
    pub(crate) all: bool,
    /// How to show it
    #[arg(long, value_name = "NAME", default_value = "text")]
    pub(crate) format: ReportFormat,
    /// Write the joined results to this file as JSON
    #[arg(long, value_name = "PATH")]
    pub(crate) json: Option<PathBuf>,
    /// Write the joined results to this file as JUnit XML
    #[arg(long, value_name = "PATH")]
    pub(crate) junit: Option<PathBuf>,
}

/// How `report merge` shows the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    Text,
    Markdown,
}
