//! `cargo xtask kernels`: list, lock, fetch, prune.

use std::path::Path;

use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets};
use hooklab_vm::kernel::{Change, Kernels as Store, Selector, Standing, Verdict};

use super::{failed_to, open_kernels};
use crate::cli::{KernelOptions, Kernels, KernelsCommand, ListFormat};
use crate::exit::Exit;
use crate::lab::Lab;
use crate::report::page::Page;
use crate::report::{self, merge};

impl Kernels {
    /// Carries out one of the four.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Exit> {
        match &self.command {
            KernelsCommand::List { format } => {
                let kernels = open_kernels(lab, &KernelOptions::default())?;
                match format {
                    ListFormat::Text => list(&kernels),
                    ListFormat::Json => list_json(&kernels),
                }
            }
            KernelsCommand::Lock { check: true, series, options } => {
                check(&open_kernels(lab, options)?, series)
            }
            KernelsCommand::Lock { series, options, .. } => lock(open_kernels(lab, options)?, series),
            KernelsCommand::Fetch { kernels, options } => fetch(lab, &open_kernels(lab, options)?, kernels),
            KernelsCommand::Doc { report, check } => doc(lab, report, *check),
            KernelsCommand::Prune => prune(&open_kernels(lab, &KernelOptions::default())?),
        }
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn list(kernels: &Store) -> Result<Exit> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["SPEC", "RELEASE", "VERSION", "CACHED", "SIZE", "NOTES"]);
    for listing in kernels.list() {
        let notes = [(listing.lts, "long-term"), (listing.default, "default")];
        let notes: Vec<&str> = notes.iter().filter(|(holds, _)| *holds).map(|(_, note)| *note).collect();
        table.add_row([
            listing.spec,
            listing.release.unwrap_or_else(|| "not pinned".into()),
            listing.version.unwrap_or_else(|| "-".into()),
            if listing.cached { "yes" } else { "no" }.into(),
            mib(listing.bytes),
            notes.join(", "),
        ]);
    }
    for line in table.lines() {
        out!("{}", line.trim_end());
    }
    Ok(Exit::Success)
}

/// One line, so that a shell can put it into a variable.
fn list_json(kernels: &Store) -> Result<Exit> {
    out!("{}", serde_json::to_string(&kernels.list())?);
    Ok(Exit::Success)
}

fn lock(mut kernels: Store, only: &[Selector]) -> Result<Exit> {
    let reporter = report::live(false);
    let changes = kernels.lock(only, reporter.as_ref()).map_err(failed_to)?;
    drop(reporter);
    note_acceptable(&kernels);
    for Change { spec, from, to } in changes {
        match (from, to) {
            (from, Some(to)) if from.as_ref() == Some(&to) => out!("{spec:<8} stays at {to}"),
            (Some(from), Some(to)) => out!("{spec:<8} {from} -> {to}"),
            (None, Some(to)) => out!("{spec:<8} pinned to {to}"),
            (_, None) => out!("{spec:<8} not pinned"),
        }
    }
    Ok(Exit::Success)
}

/// Says of suites that were left out how they could have been used.
fn note_acceptable(kernels: &Store) {
    let suites = kernels.acceptable_suites();
    if !suites.is_empty() {
        err!("note: `kernels lock --accept-expired` takes {} all the same", suites.join(", "));
    }
}

fn check(kernels: &Store, only: &[Selector]) -> Result<Exit> {
    let reporter = report::live(false);
    let standings = kernels.check(only, reporter.as_ref()).map_err(failed_to)?;
    drop(reporter);
    note_acceptable(kernels);
    for Standing { spec, pinned, newest, verdict } in &standings {
        let pinned = pinned.as_deref().unwrap_or("nothing");
        let newest = newest.as_deref().unwrap_or("nothing");
        match verdict {
            Verdict::Current => out!("{spec:<8} current  {pinned}"),
            Verdict::Behind => out!("{spec:<8} behind   {pinned}, there is {newest}"),
            Verdict::Gone => out!("{spec:<8} gone     {pinned}, there is {newest}"),
            Verdict::Missing => out!("{spec:<8} missing  nothing is pinned, there is {newest}"),
            Verdict::Unknown => out!("{spec:<8} unknown  {pinned}, no usable suite has it"),
        }
    }
    let stale = standings.iter().any(|standing| standing.verdict.is_stale());
    Ok(if stale { Exit::TestsFailed } else { Exit::Success })
}

fn fetch(lab: &Lab, kernels: &Store, wanted: &[Selector]) -> Result<Exit> {
    let specs = match wanted {
        [] => kernels.all(),
        wanted => kernels.select_all(wanted).map_err(failed_to)?,
    };
    let reporter = report::live(false);
    let fetched = kernels.obtain_all(&specs, reporter.as_ref());
    drop(reporter);
    lab.check_interrupt()?;
    let mut exit = Exit::Success;
    for (spec, kernel) in specs.iter().zip(fetched) {
        match kernel {
            Ok(kernel) => out!("{:<8} {}", kernel.spec, kernel.release),
            // The others are there all the same.
            Err(error) => {
                out!("{:<8} not fetched", spec.to_string());
                exit = Exit::from_error(&failed_to(error));
            }
        }
    }
    Ok(exit)
}

fn doc(lab: &Lab, report: &Path, check: bool) -> Result<Exit> {
    let page = Page::new(&lab.root, &merge::read(report)?)?;
    match (page.is_stale(), check) {
        (false, _) => out!("docs/kernels.md says what the report says"),
        (true, false) => page.write()?,
        (true, true) => {
            out!(
                "docs/kernels.md says something else: `cargo xtask kernels doc {}` puts it right",
                report.display()
            );
            return Ok(Exit::TestsFailed);
        }
    }
    Ok(Exit::Success)
}

fn prune(kernels: &Store) -> Result<Exit> {
    let removed = kernels.prune().map_err(failed_to)?;
    for item in &removed {
        out!("removed {} ({})", item.path.display(), mib(item.bytes));
    }
    out!("{} freed", mib(removed.iter().map(|item| item.bytes).sum()));
    Ok(Exit::Success)
}
