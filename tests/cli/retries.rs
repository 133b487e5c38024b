//! Tests that do not pass at once, and are run again.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::lab::{read, specimens};
use crate::support::{Xtask, root};

#[test]
fn a_test_that_passes_in_the_end_is_flaky_and_nowhere_called_passed() {
    let scratch = tempfile::tempdir().unwrap();
    let [json, junit] = ["out.json", "out.xml"].map(|name| scratch.path().join(name).display().to_string());
    let binary = scratch.path().join("specimens");
    // On a machine that is busy the first time may come too late.
    for seconds in [6, 30, 120] {
        fs::copy(root().join(specimens()), &binary).unwrap();
        let mut content = fs::read(&binary).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        content.extend(format!(" {}", now + seconds).into_bytes());
        fs::write(&binary, content).unwrap();
        let path = binary.display().to_string();
        let words =
            ["vm-test", "-k", "6.12", "--binary", &path, "flaky::", "--retries", "99", "--json", &json];
        let stdout = Xtask::with_kernels(&[&words[..], &["--junit", &junit]].concat()).ends_with(0).stdout;
        let kernel = &read(&json)["kernels"][0];
        let test = &kernel["tests"][0];
        if test["outcome"] == "passed" {
            continue;
        }
        assert_eq!(test["outcome"], "flaky");
        let earlier = test["earlier"].as_array().unwrap();
        assert!(earlier.iter().all(|attempt| attempt["outcome"] == "failed"), "{test}");
        assert_eq!(kernel["starts"], earlier.len() + 1, "each time needs a fresh machine");
        assert!(stdout.contains("\nFLAKY flaky::passes_in_time on 6.12, run"), "{stdout}");
        assert!(stdout.contains("too early"), "{stdout}");
        assert!(stdout.ends_with("\n0 passed, 0 failed, 1 flaky\n"), "{stdout}");
        let junit = fs::read_to_string(&junit).unwrap();
        assert!(junit.contains("<flakyFailure"), "{junit}");
        return;
    }
    panic!("it passed at once each time");
}

#[test]
fn a_test_that_never_passes_is_run_so_often_and_no_more() {
    let scratch = tempfile::tempdir().unwrap();
    let [json, junit] = ["out.json", "out.xml"].map(|name| scratch.path().join(name).display().to_string());
    let binary = specimens();
    let words = ["vm-test", "-k", "6.12", "--binary", &binary];
    let tests = ["failures::passes", "failures::fails", "failures::aborts"];
    let reports = ["-j", "1", "--retries", "2", "--json", &json, "--junit", &junit];
    let stdout = Xtask::with_kernels(&[&words[..], &tests, &reports].concat()).ends_with(1).stdout;
    assert!(stdout.contains("\nFAIL failures::fails on 6.12, run 3 times"), "{stdout}");
    assert!(stdout.ends_with("\n1 passed, 2 failed\n"), "{stdout}");
    let kernel = &read(&json)["kernels"][0];
    let tests = kernel["tests"].as_array().unwrap();
    let told = tests.iter().map(|test| (&test["outcome"], test["earlier"].as_array().map_or(0, Vec::len)));
    let told: Vec<String> = told.map(|(outcome, earlier)| format!("{outcome} {earlier}")).collect();
    assert_eq!(told, ["\"crashed\" 2", "\"failed\" 2", "\"passed\" 0"]);
    // The first of each kind goes on where the last one was.
    assert_eq!(kernel["starts"], 5);
    let junit = fs::read_to_string(&junit).unwrap();
    assert_eq!(junit.matches("<rerunFailure").count() + junit.matches("<rerunError").count(), 4, "{junit}");
}
