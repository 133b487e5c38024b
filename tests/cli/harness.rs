//! Checks of the harness itself: it finds leftovers, and waits for no event that cannot come.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::support::{Limit, TestEnv, wait_for};

/// A shell in an environment.
fn shell(env: &TestEnv, script: &str) -> Command {
    let mut shell = env.prepare(Command::new("sh"));
    shell.args(["-c", script]);
    shell
}

#[test]
#[should_panic(expected = "leftover processes: [\n    \"sleep 3600 \"")]
fn a_leftover_process_is_named() {
    let env = TestEnv::empty();
    env.run_command(&mut shell(&env, "sleep 3600 >/dev/null 2>&1 &"));
}

#[test]
#[should_panic(expected = "tmp/left\"")]
fn a_leftover_file_is_named() {
    let env = TestEnv::empty();
    env.run_command(&mut shell(&env, "echo >$TMPDIR/left"));
}

#[test]
fn a_process_that_is_about_to_end_is_waited_for() {
    let env = TestEnv::empty();
    env.run_command(&mut shell(&env, "(for turn in 1 2 3 4 5; do true; done) >/dev/null 2>&1 &"));
}

#[test]
#[should_panic(expected = "the run ended before \"never\" in its output; its output:\nshown\n")]
fn a_line_that_a_run_does_not_print_ends_the_wait_for_it_with_the_run() {
    let env = TestEnv::empty();
    env.start_command(&mut shell(&env, "echo shown >&2")).prints("never");
}

#[test]
#[should_panic(expected = "waited 10ms in vain for something; the output so far:\nnothing")]
fn an_event_that_does_not_happen_is_named_when_the_limit_is_over() {
    let nothing = || "nothing".to_owned();
    wait_for("something", Limit::within(Duration::from_millis(10)), || None::<()>, nothing);
}

#[test]
fn a_last_line_is_not_missed() {
    let env = TestEnv::empty();
    env.start_command(&mut shell(&env, "echo shown")).prints("shown");
}

#[test]
fn variables_of_the_users_reach_no_command() {
    let env = TestEnv::empty();
    let ran = env.run_command(&mut shell(&env, "env"));
    let names = ran.stdout.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    let mut ours: Vec<&str> = names.filter(|name| name.starts_with("HOOKLAB_") || *name == "CI").collect();
    ours.sort_unstable();
    assert_eq!(ours, ["HOOKLAB_CACHE", "HOOKLAB_ECLI"]);
}

#[test]
fn the_cache_of_the_tests_has_kernels_of_its_own_and_no_machine_of_the_users() {
    let cache = crate::support::test_cache();
    for name in ["kernels", "machines", "apt"] {
        let is_link = fs::symlink_metadata(cache.join(name)).is_ok_and(|metadata| metadata.is_symlink());
        assert!(!is_link, "{name} is the user's");
    }
    crate::support::locked_kernel("6.12");
}
