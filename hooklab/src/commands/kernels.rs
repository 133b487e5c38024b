//! `hooklab kernels`: list, lock, fetch, prune.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use hooklab_vm::kernel::{Change, Kernels as Store, Selector, Standing, Verdict};

use crate::exit::Exit;
use crate::kernels::{failed_to, open};
use crate::lab::Lab;
use crate::options::KernelOptions;
use crate::{report, values};

/// List, pin, fetch and remove kernels
#[derive(Debug, Args)]
pub struct Kernels {
    #[command(subcommand)]
    command: KernelsCommand,
}

#[derive(Debug, Subcommand)]
enum KernelsCommand {
    /// Show each supported kernel, what it is pinned to, and whether that is in the cache
    List {
        /// A table for a person, or JSON on one line, as the matrix of a CI wants it
        #[arg(long, value_name = "NAME", default_value = "text")]
        format: ListFormat,
    },
    /// Pin every kernel to the newest version that the mirror offers, in the project's lock
    Lock {
        /// Write nothing: say which pins are behind or gone, and exit with 1 if any is
        #[arg(long)]
        check: bool,
        /// Only these (a series, "rc", "lts", "newest", a range); may be repeated
        #[arg(long, value_name = "SPEC", value_parser = values::kernels)]
        series: Vec<Selector>,
        #[command(flatten)]
        options: KernelOptions,
    },
    /// Fill the cache
    Fetch {
        /// Series, releases, words or ranges, as -k takes them; all of the catalog if none is given
        #[arg(value_name = "SPEC", value_parser = values::kernels)]
        kernels: Vec<Selector>,
        #[command(flatten)]
        options: KernelOptions,
    },
    /// Remove from the cache what is not pinned
    Prune,
}

/// How `kernels list` shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    Text,
    Json,
}

impl Kernels {
    /// Carries out one of the four.
    pub fn run(&self, lab: &Lab) -> Result<Exit> {
        match &self.command {
            KernelsCommand::List { format } => {
                let kernels = open(lab, &KernelOptions::default())?;
                match format {
                    ListFormat::Text => list(&kernels),
                    ListFormat::Json => list_json(&kernels),
                }
            }
            KernelsCommand::Lock { check: true, series, options } => check(&open(lab, options)?, series),
            KernelsCommand::Lock { series, options, .. } => lock(open(lab, options)?, series),
            KernelsCommand::Fetch { kernels, options } => fetch(lab, &open(lab, options)?, kernels),
            KernelsCommand::Prune => prune(&open(lab, &KernelOptions::default())?),
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
    let reporter = report::steps();
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
    let reporter = report::steps();
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
    let reporter = report::steps();
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

fn prune(kernels: &Store) -> Result<Exit> {
    let removed = kernels.prune().map_err(failed_to)?;
    for item in &removed {
        out!("removed {} ({})", item.path.display(), mib(item.bytes));
    }
    out!("{} freed", mib(removed.iter().map(|item| item.bytes).sum()));
    Ok(Exit::Success)
}
