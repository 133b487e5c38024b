//! Joins the reports of several runs, such as the shards of one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hooklab_types::kernel::Accelerator;
use hooklab_types::report::{Kernel, KernelOutcome, Report, SCHEMA, Shard};
use hooklab_vm::kernel::Spec;
use serde_json::Value;

use crate::exit::UsageError;

/// Reads a report that `vm-test --json` wrote.
pub fn read(path: &Path) -> Result<Report> {
    let failed = || format!("failed to read the report {}", path.display());
    let report: Value = serde_json::from_slice(&fs::read(path).with_context(failed)?).with_context(failed)?;
    match &report["schema"] {
        schema if *schema == SCHEMA => serde_json::from_value(report).with_context(failed),
        Value::Null => bail!("{}: it is no report of vm-test", failed()),
        other => bail!("{}: its schema is {other}, not {SCHEMA}: another hooklab wrote it", failed()),
    }
}

/// Joins reports into one. The kernels come oldest first. The runs went on side by side, so the longest tells how long
/// it took; the accelerator is TCG if any ran under it. Each of `expected` that has no report is an error of the lab's,
/// and so is a shard that is missing.
///
/// # Errors
/// Two reports have the same kernel.
pub fn merge(reports: Vec<(PathBuf, Report)>, expected: &[Spec]) -> Result<Report, UsageError> {
    let mut sources: Vec<(String, PathBuf)> = Vec::new();
    let mut merged = Report::new(Accelerator::Kvm, 0.0, Vec::new());
    let shards: Vec<Shard> = reports.iter().filter_map(|(_, report)| report.shard).collect();
    for (path, report) in reports {
        for kernel in &report.kernels {
            if let Some((spec, other)) = sources.iter().find(|(spec, _)| *spec == kernel.spec) {
                let (other, path) = (other.display(), path.display());
                return Err(UsageError(format!("kernel {spec} is in two reports: {other} and {path}")));
            }
            sources.push((kernel.spec.clone(), path.clone()));
        }
        merged.wall_seconds = merged.wall_seconds.max(report.wall_seconds);
        if report.accelerator == Accelerator::Tcg {
            merged.accelerator = Accelerator::Tcg;
        }
        merged.kernels.extend(report.kernels);
    }
    let is_there = |spec: &&Spec| sources.iter().any(|(known, _)| *known == spec.to_string());
    let missing = expected.iter().filter(|spec| !is_there(spec)).map(Spec::to_string);
    let missing = missing.map(|spec| lost(&spec, "there is no report of it"));
    let missing_shards = missing_shards(&shards).into_iter();
    let missing_shards =
        missing_shards.map(|shard| lost(&format!("shard {shard}"), "there is no report of it"));
    merged.kernels.extend(missing.chain(missing_shards).collect::<Vec<_>>());
    merged.kernels.sort_by_key(|kernel| age(&kernel.spec));
    Ok(merged)
}

/// The shards that should be there, too.
fn missing_shards(shards: &[Shard]) -> Vec<Shard> {
    let mut wholes: Vec<usize> = shards.iter().map(|shard| shard.of).collect();
    wholes.sort_unstable();
    wholes.dedup();
    let all = wholes.into_iter().flat_map(|of| (1..=of).map(move |index| Shard { index, of }));
    all.filter(|shard| !shards.contains(shard)).collect()
}

fn lost(what: &str, why: &str) -> Kernel {
    Kernel { outcome: KernelOutcome::Error, error: Some(why.to_owned()), ..Kernel::unknown(what) }
}

/// Sorts series by their numbers, and after them all else by name.
fn age(spec: &str) -> (u32, u32, String) {
    let series = spec.parse().ok().and_then(|spec: Spec| spec.series());
    let (major, minor) = series.map_or((u32::MAX, u32::MAX), |series| (series.major, series.minor));
    (major, minor, spec.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn report(specs: &[&str], outcome: KernelOutcome, shard: Option<&str>) -> (PathBuf, Report) {
        let kernels = specs.iter().map(|spec| Kernel { outcome, ..Kernel::unknown(spec) }).collect();
        let accelerator = if shard == Some("2/2") { Accelerator::Tcg } else { Accelerator::Kvm };
        let shard = shard.map(|shard| shard.parse().unwrap());
        let report = Report { shard, ..Report::new(accelerator, specs.len() as f64, kernels) };
        (format!("{}.json", specs.join("+")).into(), report)
    }

    fn specs(report: &Report) -> Vec<&str> {
        report.kernels.iter().map(|kernel| kernel.spec.as_str()).collect()
    }

    #[test]
    fn shards_make_one_report_in_the_order_of_age() {
        let shards = vec![
            report(&["7.3", "5.10", "rc"], KernelOutcome::Passed, Some("1/2")),
            report(&["6.12", "6.1"], KernelOutcome::Passed, Some("2/2")),
        ];
        let merged = merge(shards, &["6.1".parse().unwrap()]).unwrap();
        assert_eq!(specs(&merged), ["5.10", "6.1", "6.12", "7.3", "rc"]);
        assert_eq!((merged.wall_seconds, merged.accelerator), (3.0, Accelerator::Tcg));
        assert_eq!((Exit::of(&merged), merged.shard), (Exit::Success, None));
    }

    #[test]
    fn the_worst_outcome_is_that_of_the_whole() {
        let merged = |second| {
            let first = report(&["6.1"], KernelOutcome::Passed, None);
            Exit::of(&merge(vec![first, report(&["6.12"], second, None)], &[]).unwrap())
        };
        assert_eq!(merged(KernelOutcome::Failed), Exit::TestsFailed);
        assert_eq!(merged(KernelOutcome::Error), Exit::Lab);
    }

    #[test]
    fn what_is_missing_is_an_error_of_the_lab() {
        let one = || vec![report(&["6.1"], KernelOutcome::Passed, Some("1/2"))];
        let without_shard = merge(one(), &[]).unwrap();
        assert_eq!((specs(&without_shard), Exit::of(&without_shard)), (vec!["6.1", "shard 2/2"], Exit::Lab));
        let alone = vec![report(&["6.1"], KernelOutcome::Passed, None)];
        let without_kernel = merge(alone, &["6.1".parse().unwrap(), "rc".parse().unwrap()]).unwrap();
        assert_eq!((specs(&without_kernel), Exit::of(&without_kernel)), (vec!["6.1", "rc"], Exit::Lab));
    }

    #[test]
    fn a_kernel_in_two_reports_is_a_mistake() {
        let twice = vec![
            report(&["6.1"], KernelOutcome::Passed, None),
            report(&["6.1", "6.12"], KernelOutcome::Passed, None),
        ];
        let message = merge(twice, &[]).unwrap_err().to_string();
        assert_eq!(message, "kernel 6.1 is in two reports: 6.1.json and 6.1+6.12.json");
    }
}
