//! Comparing with a report kept from before: what got worse.

use std::path::Path;

use anyhow::Result;
use hooklab_types::explain::Verdict;
use hooklab_types::report::{Kernel, Load, Report};

use crate::exit::UsageError;
use crate::report::merge;

/// Reads the report that is compared with.
///
/// # Errors
/// It cannot be read, or `explain` did not write it.
pub fn read(path: &Path) -> Result<Report> {
    if !path.is_file() {
        return Err(UsageError(format!("there is no report {}", path.display())).into());
    }
    let report = merge::read(path)?;
    let mut loads = report.kernels.iter().flat_map(loads);
    if loads.next().is_none() {
        let message = format!(
            "{} says of no program whether it loads: `explain --json` writes such reports",
            path.display()
        );
        return Err(UsageError(message).into());
    }
    drop(loads);
    Ok(report)
}

/// What got worse, a line each: programs that came further in `before`, and programs that it does not have and that do not
/// load. A kernel in error has no verdicts, and so nothing to compare.
pub fn worse(before: &Report, after: &Report) -> Vec<String> {
    let mut worse = Vec::new();
    for kernel in &after.kernels {
        let known = before.kernels.iter().find(|known| known.spec == kernel.spec);
        for (load, verdict) in loads(kernel) {
            let same = |other: &Load| {
                (&other.object, &other.program, other.loader) == (&load.object, &load.program, load.loader)
            };
            let was = known.and_then(|known| loads(known).find(|(other, _)| same(other)));
            let what = format!("{}: {} of {} ({})", kernel.spec, load.program, load.object, load.loader);
            match was {
                Some((_, was)) if rank(verdict) < rank(was) => {
                    worse.push(format!("{what} is {}, was {}", word(verdict), word(was)));
                }
                None if !verdict.is_fine() => worse.push(format!("{what} is new, and {}", word(verdict))),
                _ => {}
            }
        }
    }
    worse
}

/// The programs of which a kernel's report says how far they came.
fn loads(kernel: &Kernel) -> impl Iterator<Item = (&Load, Verdict)> {
    let loads = kernel.tests.iter().flat_map(|cell| &cell.loads);
    loads.filter_map(|load| Some((load, load.explained.as_ref()?.verdict)))
}

/// How far a program came. Whether one that loads attaches is not asked in every run.
fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::NotTried | Verdict::Refused => 0,
        Verdict::NotAttached => 1,
        Verdict::Loaded | Verdict::Attached => 2,
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::NotTried => "not tried",
        Verdict::Refused => "not loaded",
        Verdict::NotAttached => "not attached",
        Verdict::Loaded => "loaded",
        Verdict::Attached => "attached",
    }
}

#[cfg(test)]
#[path = "expect_tests.rs"]
mod tests;
