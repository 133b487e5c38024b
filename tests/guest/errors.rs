//! Every refusal of the loader that needs a kernel or a compiled object to be seen.

use std::os::unix::process::CommandExt as _;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rstest::rstest;
use rstest_reuse::apply;

use crate::pairs::every_loader;
use crate::support::{KernelObjects, Run, assert_snapshot, refusal_of};

/// The usual number of `nobody`.
const NOBODY: u32 = 65_534;

#[apply(every_loader)]
fn the_verifier_rejects_the_program(#[case] loader: &str) {
    let before = KernelObjects::now();
    let refusal = Run::new(loader, "rejected").refusal();
    assert_snapshot!("rejected", instruction_and_reason(&refusal));
    KernelObjects::wait_for_none_since(&before);
}

#[apply(every_loader)]
fn only_root_may_load(#[case] loader: &str) {
    let mut command = Run::new(loader, "minimal").command();
    command.uid(NOBODY).gid(NOBODY);
    assert_snapshot!("not-root", refusal_of(command));
}

#[apply(every_loader)]
fn tracefs_is_needed(#[case] loader: &str) {
    hide_tracefs();
    assert_snapshot!("no-tracefs", Run::new(loader, "minimal").refusal());
}

#[apply(every_loader)]
fn the_tracepoint_must_exist(#[case] loader: &str) {
    assert_snapshot!("no-tracepoint", Run::new(loader, "no-tracepoint").refusal());
}

#[test]
fn a_filter_needs_its_global() {
    assert_snapshot!("no-global", Run::new("libbpf", "unfilterable").filter(1).refusal());
}

#[test]
fn an_object_needs_a_program() {
    assert_snapshot!("no-program", Run::new("libbpf", "no-program").refusal());
}

/// Unmounts tracefs for this thread and its children; the rest of the system keeps it.
fn hide_tracefs() {
    unshare(CloneFlags::CLONE_NEWNS).expect("root may have a mount namespace of its own");
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("make the mounts private");
    umount2("/sys/kernel/tracing", MntFlags::MNT_DETACH).expect("tracefs is mounted");
    // It is mounted a second time within debugfs, if that is mounted at all.
    let _ = umount2("/sys/kernel/debug", MntFlags::MNT_DETACH);
}

/// Keeps of a verifier's log the instruction that it stopped at and the reason, which is the line after. Around
/// them kernels print registers, source lines and statistics, each in a way of its own.
fn instruction_and_reason(refusal: &str) -> String {
    let lines: Vec<&str> = refusal.lines().collect();
    let is_last = |line: &&str| line.starts_with("processed ");
    assert!(lines.last().is_some_and(is_last), "the log is not complete: {refusal}");
    let instruction =
        lines.iter().rposition(|line| line.contains(": (")).expect("the log shows an instruction");
    let said_by_loader = &lines[..2];
    [said_by_loader, &lines[instruction..instruction + 2]].concat().join("\n")
}
