//! The disk full, at each stage: what cannot be written costs what it has to and no more, and no half of a file is taken
//! for a whole one.

use std::fs;
use std::path::Path;

use crate::gate::needs;
use crate::support::{ONE, TestEnv, target};

/// Shell that puts a small disk in the place of a directory.
fn small(directory: &Path, size: &str) -> String {
    format!("mount -t tmpfs -o size={size} none {}", directory.display())
}

/// Shell that fills a disk to its last byte.
fn fill(directory: &Path) -> String {
    format!(
        "{{ dd if=/dev/zero of={0}/filling bs=4k 2>/dev/null; test -e {0}/filling; }}",
        directory.display()
    )
}

#[test]
fn a_kernel_that_finds_no_room_is_refused_until_there_is_some() {
    let mounts = needs!(Mounts);
    let env = TestEnv::with_own_cache(&[]);
    let kernels = env.directory("cache/kernels");
    let room = |size| format!("mount -o remount,size={size} {}", kernels.display());
    let stages = [small(&kernels, "10m"), room("38m"), room("200m"), "true".into()];
    let stages = stages.each_ref().map(String::as_str);
    let fetch = env.command(&["kernels", "fetch", "6.12"]);
    let ran = env.run_after(mounts, &stages, &fetch);
    // No room for its package; then for that, but not for what is in it; then for all.
    for (ran, while_it) in ran.iter().zip(["download", "write"]) {
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("error: failed to {while_it} ")), "{}", ran.stderr);
        assert!(ran.stderr.contains("make room, or set HOOKLAB_CACHE"), "{}", ran.stderr);
    }
    assert_eq!((ran[2].code, ran[3].code), (Some(0), Some(0)), "{}{}", ran[2].stderr, ran[3].stderr);
    // What had come was not asked for again, and what is whole is not touched.
    assert!(!ran[3].stderr.contains("downloading"), "{}", ran[3].stderr);
}

#[test]
fn a_cache_without_room_costs_warnings_alone() {
    let mounts = needs!(Mounts);
    let env = TestEnv::with_own_cache(&["kernels", "accelerator.json"]);
    let cache = env.path("cache");
    let (disk, entries) = (small(&cache, "64k"), env.directory("entries"));
    let copy = format!(
        "cp -P {0}/cache/* {1} && {disk} && cp -P {1}/* {0}/cache && {2}",
        env.path("").display(),
        entries.display(),
        fill(&cache)
    );
    let test = env.vm_test_command(&["-k", "6.12", ONE[0], ONE[1]]);
    let ran = env.run_after(mounts, &[&copy], &test);
    assert_eq!(ran[0].code, Some(0), "{}{}", ran[0].stdout, ran[0].stderr);
    assert!(ran[0].stderr.contains("failed to save the machine of 6.12"), "{}", ran[0].stderr);
    assert_eq!(ran[0].kernel()["start"], "boot");
    env.next_run_passes();
}

#[test]
fn consoles_that_cannot_be_kept_change_no_verdict() {
    let mounts = needs!(Mounts);
    let logs = target().join("hooklab/logs");
    let env = TestEnv::shared();
    let test = env.vm_test_command(&["-k", "6.12", ONE[0], ONE[1]]);
    // No room for a byte; no room even for another name.
    let full = format!("{} && {}", small(&logs, "64k"), fill(&logs));
    let nameless = small(&logs, "64k,nr_inodes=1");
    let ran = env.run_after(mounts, &[&full, &nameless], &test);
    for ran in &ran {
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.kernel()["outcome"], "passed");
    }
    assert!(ran[1].stderr.contains("failed to keep the console of 6.12"), "{}", ran[1].stderr);
    env.next_run_passes();
}

#[test]
fn a_report_that_cannot_be_written_is_an_error_after_all_has_been_shown() {
    let mounts = needs!(Mounts);
    let env = TestEnv::shared();
    let test = |option, path| env.command(&["vm-test", "-k", "6.12", ONE[0], option, path]);
    let ran = env.run_command(&mut test("--junit", "/dev/full"));
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("failed to write /dev/full: No space left on device"), "{}", ran.stderr);
    assert!(ran.stdout.contains("1 passed, 0 failed"), "{}", ran.stdout);

    // That of an earlier run stays whole, with nothing beside it.
    let disk = env.directory("disk");
    let old = disk.join("report");
    let look = format!("(ls -A {0}; cat {0}/report) >{1}", disk.display(), env.path("found").display());
    let prepare = format!("{} && echo whole >{} && {}", small(&disk, "64k"), old.display(), fill(&disk));
    let all = format!("{prepare} && trap '{look}' EXIT");
    let ran = env.run_after(mounts, &[&all], &test("--json", old.to_str().unwrap()));
    assert_eq!(ran[0].code, Some(3), "{}", ran[0].stderr);
    assert!(ran[0].stderr.contains("No space left on device"), "{}", ran[0].stderr);
    assert!(ran[0].stdout.contains("1 passed, 0 failed"), "{}", ran[0].stdout);
    assert_eq!(fs::read_to_string(env.path("found")).unwrap(), "filling\nreport\nwhole\n");
    env.next_run_passes();
}
