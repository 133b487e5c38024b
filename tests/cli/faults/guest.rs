//! Tests that take what a guest has, or the guest itself.

use crate::support::{Ran, TestEnv, misbehaving, took_its_limit};

/// Runs these misbehaving tests on one machine after the other.
fn run(filter: &str, words: &[&str]) -> Ran {
    let env = TestEnv::shared();
    let binary = misbehaving();
    let ran = env.vm_test(&[&["-k", "6.12", "-j", "1", "--binary", &binary, filter], words].concat());
    env.next_run_passes();
    ran
}

#[test]
fn each_test_that_takes_all_there_is_has_a_verdict_of_its_own() {
    let ran = run("exhaustion::", &["endings::", "--timeout", "5"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    insta::assert_snapshot!(ran.outcomes().join("\n"));
}

#[test]
fn a_full_disk_is_emptied_and_a_clock_set_right_on_the_same_machine() {
    // Each fails in another way, or leaks nothing, if the other one's disk is still full or its clock still wrong.
    let disk = ["exhaustion::fills_the_disk", "exhaustion::fills_the_disk_again"];
    let clock = ["exhaustion::sets_the_clock", "exhaustion::sets_the_clock_again"];
    let ran = run(disk[0], &[clock[0]]);
    for test in disk {
        assert!(ran.message(test).contains("filled the disk"), "{}", ran.stdout);
    }
    for test in clock {
        assert_eq!(ran.test(test)["outcome"], "leaked", "{}", ran.stdout);
    }
    assert_eq!(ran.kernel()["starts"], 1, "{}", ran.stdout);
}

#[test]
fn memory_that_a_test_has_filled_costs_the_machine() {
    let root = ["exhaustion::fills_the_root", "exhaustion::fills_the_root_again"];
    let ran = run(root[0], &[]);
    for test in root {
        assert!(ran.message(test).contains("filled the disk"), "{}", ran.stdout);
    }
    assert_eq!(ran.kernel()["starts"], 2, "{}", ran.stdout);
}

#[test]
fn what_cannot_be_shown_is_cut_or_replaced() {
    let ran = run("endings::prints_invalid", &[]);
    assert_eq!(ran.message("endings::prints_invalid_utf8"), "a line\n\u{fffd}\u{fffd}\0 half a line");
}

#[test]
fn what_ended_a_test_is_named() {
    let ran = run("exhaustion::eats_all_memory", &["--timeout", "5"]);
    let message = ran.message("exhaustion::eats_all_memory");
    assert!(
        message.contains("killed by signal 9") && message.contains("Out of memory: Killed process"),
        "{message}"
    );
    let ran = run("endings::crashes", &[]);
    let message = ran.message("endings::crashes_pid_1");
    assert!(message.contains("Kernel panic - not syncing: Attempted to kill init!"), "{message}");
}

#[test]
fn a_test_that_hangs_is_ended_at_its_limit() {
    let ran = run("failures::hangs", &["--timeout", "3"]);
    took_its_limit(ran.test("failures::hangs"), 3.0);
    assert_eq!(ran.outcomes(), ["failures::hangs timed-out"]);
}

#[test]
fn a_test_that_takes_down_the_machine_each_time_costs_so_many_machines_and_no_more() {
    let ran = run("panics", &["--retries", "2"]);
    assert_eq!(ran.outcomes(), ["failures::panics_the_kernel crashed"]);
    assert_eq!(ran.kernel()["starts"], 3);
}
