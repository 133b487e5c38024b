//! What tests leave behind in a guest's kernel is found, named, and removed.

use regex::Regex;
use serde_json::Value;

use crate::support::{TestEnv, misbehaving};

/// Leaks that nothing in the guest can undo, so that the rest needs a fresh machine: an attached program, a mount
/// removed, a network interface, a soft lock-up, a taint flag.
const FOR_GOOD: u64 = 5;

#[test]
fn each_kind_of_leak_is_named_and_the_next_test_finds_nothing_of_it() {
    let env = TestEnv::shared();
    let binary = misbehaving();
    // One machine at a time: each test stands behind all those before it.
    let words = ["-k", "6.12", "-j", "1", "--binary", &binary, "leaks::"];
    let ran = env.vm_test(&words).exits_with(1);

    let told: Vec<String> = ran.tests().iter().map(told).collect();
    insta::assert_snapshot!(told.join("\n"));
    assert_eq!(ran.kernel()["starts"], FOR_GOOD + 1);

    let message = ran.message("leaks::a_soft_lockup");
    // The call trace names the program.
    assert!(message.contains("soft lockup - CPU#0 stuck") && message.contains("_keep_busy"), "{message}");
}

#[test]
fn without_the_checks_nothing_is_found() {
    let env = TestEnv::shared();
    let binary = misbehaving();
    let words = ["-k", "6.12", "--binary", &binary, "leaks::a_pinned_map", "--no-checks"];
    env.vm_test(&words).exits_with(0);
}

/// Name, outcome, and the first lines of why, without numbers that differ from run to run.
fn told(test: &Value) -> String {
    let ids =
        Regex::new("(process|program) [0-9]+|stuck for [0-9]+s.*|leaks.rs:[0-9:]+|\\([0-9]+\\)").unwrap();
    let why = test["message"].as_str().unwrap_or_default();
    let why: String = why.lines().take(3).flat_map(|line| ["\n    ", line]).collect();
    format!("{} {}{}", test["name"], test["outcome"], ids.replace_all(&why, "$1 [n]")).replace('"', "")
}
