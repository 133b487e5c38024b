//! `cargo xtask report`: joins the reports of several runs.

use anyhow::Result;

use super::open_kernels;
use crate::cli::{KernelOptions, Merge, Report, ReportCommand, ReportFormat};
use crate::exit::Exit;
use crate::lab::Lab;
use crate::report::merge;
use crate::report::{json, junit, markdown, table};

impl Report {
    /// Carries out the one that is asked for.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Exit> {
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
            true => open_kernels(lab, &KernelOptions::default())?.all(),
            false => Vec::new(),
        };
        let read = |path: &std::path::PathBuf| Ok((path.clone(), merge::read(path)?));
        let reports = self.reports.iter().map(read).collect::<Result<Vec<_>>>()?;
        let summary = merge::merge(reports, &expected)?;
        self.json.as_ref().map_or(Ok(()), |path| json::write(&summary, path))?;
        self.junit.as_ref().map_or(Ok(()), |path| junit::write(&summary, path))?;
        match self.format {
            ReportFormat::Markdown => out!("{}", markdown::markdown(&summary)),
            ReportFormat::Text => {
                out!(
                    "{}\n{}\n\n{}",
                    table::failures(&summary),
                    table::table(&summary),
                    table::verdict(&summary)
                );
            }
        }
        Ok(summary.exit())
    }
}
