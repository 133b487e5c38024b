//! `cargo xtask kernels`, as far as it goes without the network.

use std::fs;

use serde_json::Value;

use crate::support::{TestEnv, root};

#[test]
fn list_shows_each_series_and_that_none_is_cached() {
    let stdout = TestEnv::empty().run(&["kernels", "list"]).exits_with(0).stdout;
    let rows: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["SPEC", "RELEASE", "VERSION", "CACHED", "SIZE", "NOTES"]);
    assert!(rows.len() > 11, "{stdout}");
    for row in &rows[1..] {
        assert!((row[0] == "rc" || row[1].starts_with(row[0])) && row[3] == "no", "{row:?}");
    }
}

#[test]
fn the_list_as_json_is_one_line_and_says_what_the_table_says() {
    let table = TestEnv::empty().run(&["kernels", "list"]).exits_with(0).stdout;
    let json = TestEnv::empty().run(&["kernels", "list", "--format", "json"]).exits_with(0).stdout;
    assert_eq!(json.lines().count(), 1);
    let kernels: Value = serde_json::from_str(&json).unwrap();
    let listed = kernels.as_array().unwrap().iter().map(|kernel| {
        let field = |name: &str| kernel[name].as_str().unwrap().to_owned();
        [field("spec"), field("release"), field("version")]
    });
    let rows = table.lines().skip(1).map(|line| {
        let mut words = line.split_whitespace().map(str::to_owned);
        [(); 3].map(|()| words.next().unwrap())
    });
    assert_eq!(listed.collect::<Vec<_>>(), rows.collect::<Vec<_>>());
}

/// The workflow's matrix is what `kernels list --format json` prints: here is seen that it still asks for that, with
/// words that there are, and uses a field that there is.
#[test]
fn the_workflow_makes_its_matrix_from_the_lock() {
    let workflow = fs::read_to_string(root().join(".github/workflows/ci.yml")).unwrap();
    for needed in [
        "kernels=$(cargo xtask kernels list --format json)",
        "kernels: ${{ steps.plan.outputs.kernels }}",
        "kernel: ${{ fromJSON(needs.plan.outputs.kernels) }}",
        "KERNEL: ${{ matrix.kernel.spec }}",
    ] {
        assert!(workflow.contains(needed), "the workflow lacks {needed}");
    }
    let json = TestEnv::empty().run(&["kernels", "list", "--format", "json"]).exits_with(0).stdout;
    let kernels: Value = serde_json::from_str(&json).unwrap();
    assert!(kernels.as_array().unwrap().iter().all(|kernel| kernel["spec"].is_string()));
}

#[test]
fn prune_of_an_empty_cache_frees_nothing() {
    assert_eq!(TestEnv::empty().run(&["kernels", "prune"]).exits_with(0).stdout, "0.0 MiB freed\n");
}
