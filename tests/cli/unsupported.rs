//! Tests that a kernel cannot run, and words for its command line that let it: Debian's 5.10 has eBPF's security module compiled in,
//! and leaves it out of those that are active.

use std::fs;

use serde_json::Value;

use crate::support::{Ran, TestEnv};

/// One test, of two programs: any kernel can run the one, and the other needs the module.
const TESTS: [&str; 2] = ["filter::one_pid [libbpf minimal-c]", "filter::one_pid [libbpf minimal-lsm-c]"];

fn run(env: &TestEnv, words: &[&str]) -> Ran {
    env.vm_test(&[&["-k", "5.10", "--program", "c", TESTS[0], TESTS[1]], words].concat())
}

/// Programs and outcomes.
fn outcomes(ran: &Ran) -> Vec<(&str, &str)> {
    let text = |value| Value::as_str(value).unwrap();
    ran.tests().iter().map(|test| (text(&test["program"]), text(&test["outcome"]))).collect()
}

#[test]
fn what_a_kernel_lacks_is_not_run_and_appended_words_give_it() {
    let env = TestEnv::shared();
    let junit = env.path("out.xml");
    let without = run(&env, &["--junit", &junit.display().to_string(), "--fail-fast"]).exits_with(0);
    assert_eq!(outcomes(&without), [("minimal-c", "passed"), ("minimal-lsm-c", "unsupported")]);
    assert_eq!(without.kernel()["features"]["bpf_lsm"], false);
    assert_eq!(without.kernel()["append"], Value::Null);
    let reason = "`bpf` is not among the active security modules";
    assert_eq!(without.tests()[1]["message"], reason);
    let end = format!("\n1 passed, 0 failed, 1 unsupported\n5.10: 1 unsupported: {reason}\n");
    assert!(without.stdout.ends_with(&end), "{}", without.stdout);
    let junit = fs::read_to_string(junit).unwrap();
    assert!(junit.contains(r#"tests="2" skipped="1""#) && junit.contains(reason), "{junit}");

    // A machine that was saved without the words is not restored; one with them is, the second time.
    let append = "lsm=lockdown,yama,bpf";
    for _ in 0..2 {
        let with = run(&env, &["--append", append]).exits_with(0);
        assert_eq!(outcomes(&with), [("minimal-c", "passed"), ("minimal-lsm-c", "passed")]);
        assert_eq!(with.kernel()["features"]["bpf_lsm"], true);
        assert_eq!(with.kernel()["append"], append);
    }
    let again = run(&env, &[]).exits_with(0);
    assert_eq!(outcomes(&again), outcomes(&without));
}

#[test]
fn a_kernel_that_can_run_none_of_the_tests_has_passed() {
    let env = TestEnv::shared();
    let ran = env.vm_test(&["-k", "5.10", "--program", "c", TESTS[1]]).exits_with(0);
    assert_eq!(outcomes(&ran), [("minimal-lsm-c", "unsupported")]);
    assert!(ran.stdout.contains("\n0 passed, 0 failed, 1 unsupported\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("5.10: 1 unsupported, and no other test was run: "), "{}", ran.stdout);
    let listed = env.vm_test(&["-k", "5.10", "--program", "c", TESTS[1], "--list"]).exits_with(0).stdout;
    assert_eq!(listed, format!("5.10 {} (needs BTF, fentry, BPF LSM)\n", TESTS[1]));
}
