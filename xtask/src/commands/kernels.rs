//! `cargo xtask kernels`: list, lock, fetch, prune.

use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets};
use hooklab_vm::kernel::{Kernels as Store, Spec};

use super::{failed_to, obtain, open_kernels};
use crate::cli::{KernelOptions, Kernels, KernelsCommand};
use crate::exit::Exit;
use crate::lab::Lab;
use crate::report;

impl Kernels {
    /// Carries out one of the four.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Exit> {
        match &self.command {
            KernelsCommand::List => list(&open_kernels(lab, &KernelOptions::default())?),
            KernelsCommand::Lock { options } => lock(open_kernels(lab, options)?),
            KernelsCommand::Fetch { kernels, options } => fetch(lab, &open_kernels(lab, options)?, kernels),
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

fn lock(mut kernels: Store) -> Result<Exit> {
    let reporter = report::live(false);
    let changes = kernels.lock(reporter.as_ref()).map_err(failed_to)?;
    drop(reporter);
    for change in &changes {
        let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "nothing".into());
        match (&change.from, &change.to) {
            _ if !change.is_change() => out!("{:<8} stays at {}", change.spec, version(&change.to)),
            (from, to) => out!("{:<8} {} -> {}", change.spec, version(from), version(to)),
        }
    }
    Ok(Exit::Success)
}

fn fetch(lab: &Lab, kernels: &Store, specs: &[Spec]) -> Result<Exit> {
    let specs = if specs.is_empty() { kernels.all() } else { specs.to_vec() };
    let reporter = report::live(false);
    let fetched = obtain(lab, kernels, &specs, reporter.as_ref())?;
    drop(reporter);
    for kernel in fetched {
        out!("{:<8} {}", kernel.spec, kernel.release);
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
