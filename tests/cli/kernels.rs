//! `cargo xtask kernels`, as far as it goes without the network.

use std::fs;

use crate::support::{Xtask, root};

#[test]
fn list_shows_each_series_and_that_none_is_cached() {
    let stdout = Xtask::new(&["kernels", "list"]).ends_with(0).stdout;
    let rows: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["SPEC", "RELEASE", "VERSION", "CACHED", "SIZE", "NOTES"]);
    assert!(rows.len() > 11, "{stdout}");
    for row in &rows[1..] {
        assert!((row[0] == "rc" || row[1].starts_with(row[0])) && row[3] == "no", "{row:?}");
    }
}

#[test]
fn the_workflow_tests_each_series() {
    let stdout = Xtask::new(&["kernels", "list"]).ends_with(0).stdout;
    let series: Vec<String> =
        stdout.lines().skip(1).map(|line| format!("{:?}", line.split_whitespace().next().unwrap())).collect();
    let workflow = fs::read_to_string(root().join(".github/workflows/ci.yml")).unwrap();
    let matrix = format!("kernel: [{}]", series.join(", "));
    assert!(workflow.contains(&matrix), "the workflow's matrix is not {matrix}");
}

#[test]
fn prune_of_an_empty_cache_frees_nothing() {
    assert_eq!(Xtask::new(&["kernels", "prune"]).ends_with(0).stdout, "0.0 MiB freed\n");
}
