//! `hooklab report`: joins the reports of several runs.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

use crate::exit::Exit;
use crate::kernels;
use crate::lab::Lab;
use crate::options::KernelOptions;
use crate::report::{json, junit, markdown, merge, table};

/// Work with the JSON reports of vm-test
#[derive(Debug, Args)]
pub struct Report {
    #[command(subcommand)]
    command: ReportCommand,
}

#[derive(Debug, Subcommand)]
enum ReportCommand {
    /// Join the reports of several runs into one, and show it and its verdict as a single run would
    Merge(Merge),
}

/// Join the reports of several runs into one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hooklab report merge 1.json 2.json --json all.json
  hooklab report merge --all --format markdown results/*.json >> $GITHUB_STEP_SUMMARY")]
struct Merge {
    /// Reports that `vm-test --json` wrote, of different kernels
    #[arg(value_name = "PATH", required = true)]
    reports: Vec<PathBuf>,
    /// Expect every kernel of the catalog: one without a report is an error of the lab
    #[arg(long)]
    all: bool,
    /// How to show it
    #[arg(long, value_name = "NAME", default_value = "text")]
    format: ReportFormat,
    /// Write the joined results to this file as JSON
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Write the joined results to this file as JUnit XML
    #[arg(long, value_name = "PATH")]
    junit: Option<PathBuf>,
}

/// How `report merge` shows the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    Text,
    Markdown,
}

impl Report {
    /// Carries out the one that is asked for.
    pub fn run(&self, lab: &Lab) -> Result<Exit> {
        match &self.command {
            ReportCommand::Merge(merge) => merge.run(lab),
        }
    }
}

impl Merge {
    /// Joins, writes, shows; exits as a single run with these results would.
    fn run(&self, lab: &Lab) -> Result<Exit> {
        for report in self.json.iter().chain(&self.junit) {
            json::check(report)?;
        }
        let expected = match self.all {
            true => kernels::open(lab, &KernelOptions::default())?.all(),
            false => Vec::new(),
        };
        let read = |path: &PathBuf| Ok((path.clone(), merge::read(path)?));
        let reports = self.reports.iter().map(read).collect::<Result<Vec<_>>>()?;
        let report = merge::merge(reports, &expected)?;
        self.json.as_ref().map_or(Ok(()), |path| json::write(&report, path))?;
        self.junit.as_ref().map_or(Ok(()), |path| junit::write(&report, path))?;
        match self.format {
            ReportFormat::Markdown => out!("{}", markdown::markdown(&report)),
            ReportFormat::Text => {
                out!(
                    "{}\n{}\n\n{}",
                    table::failures(&report),
                    table::table(&report),
                    table::verdict(&report)
                );
            }
        }
        Ok(Exit::of(&report))
    }
}
