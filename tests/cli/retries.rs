//! Tests that do not pass at once, and are run again.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{TestEnv, misbehaving, root};

#[test]
fn a_test_that_passes_in_the_end_is_flaky_and_nowhere_called_passed() {
    let env = TestEnv::shared();
    let junit = env.path("out.xml").display().to_string();
    let binary = env.path("misbehaving");
    // On a machine that is busy the first time may come too late.
    for seconds in [6, 30, 120] {
        fs::copy(root().join(misbehaving()), &binary).unwrap();
        let mut content = fs::read(&binary).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        content.extend(format!(" {}", now + seconds).into_bytes());
        fs::write(&binary, content).unwrap();
        let path = binary.display().to_string();
        let words = ["-k", "6.12", "--binary", &path, "flaky::", "--retries", "99", "--junit", &junit];
        let ran = env.vm_test(&words).exits_with(0);
        let (stdout, kernel, test) = (&ran.stdout, ran.kernel(), &ran.tests()[0]);
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
    let env = TestEnv::shared();
    let junit = env.path("out.xml").display().to_string();
    let binary = misbehaving();
    let words =
        ["-k", "6.12", "--binary", &binary, "failures::passes", "failures::fails", "failures::aborts"];
    let reports = ["-j", "1", "--retries", "2", "--junit", &junit];
    let ran = env.vm_test(&[&words[..], &reports].concat()).exits_with(1);
    let (stdout, kernel, tests) = (&ran.stdout, ran.kernel(), ran.tests());
    assert!(stdout.contains("\nFAIL failures::fails on 6.12, run 3 times"), "{stdout}");
    assert!(stdout.ends_with("\n1 passed, 2 failed\n"), "{stdout}");
    let told = tests.iter().map(|test| (&test["outcome"], test["earlier"].as_array().map_or(0, Vec::len)));
    let told: Vec<String> = told.map(|(outcome, earlier)| format!("{outcome} {earlier}")).collect();
    assert_eq!(told, ["\"crashed\" 2", "\"failed\" 2", "\"passed\" 0"]);
    // The first of each kind goes on where the last one was.
    assert_eq!(kernel["starts"], 5);
    let junit = fs::read_to_string(&junit).unwrap();
    assert_eq!(junit.matches("<rerunFailure").count() + junit.matches("<rerunError").count(), 4, "{junit}");
}
