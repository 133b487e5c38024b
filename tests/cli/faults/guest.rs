//! Tests that take what a guest has, or the guest itself.

use super::site::{Ran, Site};
use crate::support::lab::specimens;

/// Runs these specimens on one machine after the other.
fn run(filter: &str, words: &[&str]) -> Ran {
    let site = Site::new();
    let binary = specimens();
    let ran = site.run(&[&["-k", "6.12", "-j", "1", "--binary", &binary, filter], words].concat());
    site.goes_on();
    ran
}

#[test]
fn each_test_that_takes_all_there_is_has_a_verdict_of_its_own() {
    let ran = run("abuses::", &["--timeout", "5"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    insta::assert_snapshot!(ran.outcomes().join("\n"));
}

#[test]
fn a_full_disk_is_emptied_and_a_clock_set_right_on_the_same_machine() {
    let ran = run("abuses::b_", &["abuses::c_", "abuses::j_", "abuses::k_"]);
    let outcomes = ran.outcomes();
    let outcomes: Vec<&str> = outcomes.iter().map(|line| line.rsplit_once(' ').unwrap().1).collect();
    assert_eq!(outcomes, ["failed", "passed", "leaked", "passed"], "{}", ran.stdout);
    assert_eq!(ran.kernel()["starts"], 1, "{}", ran.stdout);
}

#[test]
fn memory_that_a_test_has_filled_costs_the_machine() {
    let ran = run("abuses::d_", &["abuses::n_"]);
    assert_eq!(ran.kernel()["starts"], 2, "{}", ran.stdout);
}

#[test]
fn what_cannot_be_shown_is_cut_or_replaced() {
    let ran = run("abuses::g_prints", &[]);
    assert_eq!(ran.message("abuses::g_prints_what_is_no_text"), "a line\n\u{fffd}\u{fffd}\0 half a line");
}

#[test]
fn what_ended_a_test_is_named() {
    let ran = run("abuses::", &["--timeout", "5", "--fail-fast"]);
    let message = ran.message("abuses::a_eats_all_memory");
    assert!(
        message.contains("killed by signal 9") && message.contains("Out of memory: Killed process"),
        "{message}"
    );
    let ran = run("abuses::e_takes", &[]);
    let message = ran.message("abuses::e_takes_down_pid_1");
    assert!(message.contains("Kernel panic - not syncing: Attempted to kill init!"), "{message}");
}

#[test]
fn a_test_that_hangs_ends_within_a_second_of_its_limit() {
    let ran = run("misbehaves::c_hangs", &["--timeout", "3"]);
    let seconds = ran.test("misbehaves::c_hangs")["seconds"].as_f64().unwrap();
    assert!((3.0..4.0).contains(&seconds), "{seconds}");
    assert_eq!(ran.outcomes(), ["misbehaves::c_hangs timed-out"]);
}

#[test]
fn a_test_that_takes_down_the_machine_each_time_costs_so_many_machines_and_no_more() {
    let ran = run("panics", &["--retries", "2"]);
    assert_eq!(ran.outcomes(), ["misbehaves::h_panics_the_kernel crashed"]);
    assert_eq!(ran.kernel()["starts"], 3);
}
