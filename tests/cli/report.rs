//! `cargo xtask report merge`, on reports as `vm-test --json` writes them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::TestEnv;

/// A report with one kernel and one test on it.
fn write(directory: &Path, name: &str, spec: &str, outcome: &str) -> String {
    let failed = outcome == "failed";
    let message = failed.then_some("thread 'a' panicked:\n```\n| left\n```");
    let report = json!({
        "schema": 2, "accelerator": "tcg", "wall_seconds": 2.5,
        "kernels": [{
            "spec": spec, "arch": "x86_64", "release": format!("{spec}.9-amd64"), "start": "boot", "outcome": outcome, "error": null,
            "boot_seconds": 1.5, "wall_seconds": 2.0, "starts": 1, "not_run": 0, "a_field_of_tomorrow": [1, 2],
            "tests": [{
                "name": "filter::one_pid", "loader": "aya", "program": "minimal-c", "outcome": outcome,
                "seconds": 0.25, "message": message,
            }],
        }],
    });
    let path = directory.join(name);
    fs::write(&path, report.to_string()).unwrap();
    path.display().to_string()
}

#[test]
fn reports_become_one_with_the_outcome_of_the_worst() {
    let directory = tempfile::tempdir().unwrap();
    let (new, old) =
        (write(directory.path(), "a", "7.3", "failed"), write(directory.path(), "b", "6.1", "passed"));
    let json = directory.path().join("all.json");
    let words = ["report", "merge", &new, &old, "--json", json.to_str().unwrap()];
    insta::assert_snapshot!(TestEnv::empty().run(&words).exits_with(1).stdout);
    let joined: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let specs = joined["kernels"].as_array().unwrap().iter().map(|kernel| kernel["spec"].as_str().unwrap());
    assert_eq!(specs.collect::<Vec<_>>(), ["6.1", "7.3"]);
    // What was joined can be joined.
    let again = TestEnv::empty().run(&["report", "merge", json.to_str().unwrap()]).exits_with(1).stdout;
    assert!(again.ends_with("\n1 passed, 1 failed\n"), "{again}");
    TestEnv::empty().run(&["report", "merge", &old]).exits_with(0);
}

#[test]
fn markdown_is_a_table_and_a_block_for_each_failure() {
    let directory = tempfile::tempdir().unwrap();
    let report = write(directory.path(), "a", "7.3", "failed");
    let words = ["report", "merge", "--format", "markdown", &report];
    insta::assert_snapshot!(TestEnv::empty().run(&words).exits_with(1).stdout);
}

#[test]
fn a_kernel_that_supports_no_test_has_passed_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let report = write(directory.path(), "a", "5.10", "passed");
    let text = fs::read_to_string(&report).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value["kernels"][0]["tests"][0]["outcome"] = "unsupported".into();
    value["kernels"][0]["tests"][0]["message"] = "the kernel has no BTF".into();
    fs::write(&report, value.to_string()).unwrap();
    let other = write(directory.path(), "b", "6.1", "passed");
    let stdout = TestEnv::empty().run(&["report", "merge", &report, &other]).exits_with(0).stdout;
    let end = "\n1 passed, 0 failed, 1 unsupported\n\
               5.10: 1 unsupported, and no other test was run: the kernel has no BTF\n";
    assert!(stdout.ends_with(end), "{stdout}");
}

#[test]
fn a_kernel_without_a_report_is_an_error_where_all_are_expected() {
    let directory = tempfile::tempdir().unwrap();
    let report = write(directory.path(), "a", "7.3", "passed");
    let stdout = TestEnv::empty().run(&["report", "merge", "--all", &report]).exits_with(3).stdout;
    assert!(stdout.contains("ERROR 6.12\n    there is no report of it\n"), "{stdout}");
    assert!(!stdout.contains("ERROR 7.3"), "{stdout}");
}

#[test]
fn what_cannot_be_joined_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let report = write(directory.path(), "a", "7.3", "passed");
    let stderr = TestEnv::empty().run(&["report", "merge", &report, &report]).exits_with(2).stderr;
    assert!(stderr.contains("kernel 7.3 is in two reports"), "{stderr}");
    let stderr = TestEnv::empty().run(&["report", "merge", &report, "/no/such.json"]).exits_with(3).stderr;
    assert!(stderr.contains("failed to read the report /no/such.json"), "{stderr}");
    let broken = directory.path().join("broken.json").display().to_string();
    let schema_3 = r#"{"schema": 3}"#;
    for (content, said) in
        [("{", "EOF"), ("{}", "no report"), (schema_3, "3, not 2"), (r#"{"schema": 2}"#, "missing")]
    {
        fs::write(&broken, content).unwrap();
        let stderr = TestEnv::empty().run(&["report", "merge", &broken]).exits_with(3).stderr;
        assert!(stderr.contains("broken.json") && stderr.contains(said), "{stderr}");
    }
}
