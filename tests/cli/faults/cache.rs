//! A cache that is not as one would have it: read-only, another user's, without hard links.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::Uid;

use crate::gate::{Met, needs};
use crate::support::{ONE, Ran, TestEnv, behind, locked_kernel, target, test_cache};

/// A user who owns nothing, by number: Debian's `nobody`.
const NOBODY: &str = "65534";

/// Shell that makes a directory read-only.
fn read_only(directory: &Path) -> String {
    format!("mount --bind {0} {0} && mount -o remount,bind,ro {0}", directory.display())
}

#[test]
fn a_read_only_cache_that_has_all_serves_as_any_other() {
    let mounts = needs!(Mounts);
    let env = TestEnv::shared();
    env.next_run_passes();
    let test = env.vm_test_command(&["-k", "6.12", ONE[0], ONE[1]]);
    let ran = env.run_after(mounts, &[&read_only(test_cache())], &test);
    assert_eq!(ran[0].code, Some(0), "{}{}", ran[0].stdout, ran[0].stderr);
    assert_eq!(ran[0].kernel()["start"], "resume", "{}", ran[0].stderr);
    assert!(!ran[0].stderr.contains("saved machine"), "{}", ran[0].stderr);
}

#[test]
fn a_read_only_cache_that_lacks_something_is_an_error_or_a_warning() {
    let mounts = needs!(Mounts);
    let env = TestEnv::with_own_cache(&["accelerator.json"]);
    let test = env.vm_test_command(&["-k", "6.12", ONE[0]]);
    let ran = &env.run_after(mounts, &[&read_only(&env.path("cache"))], &test)[0];
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let why = "Read-only file system (os error 30); set HOOKLAB_CACHE to another directory";
    assert!(ran.stderr.contains("error: failed to create") && ran.stderr.contains(why), "{}", ran.stderr);

    let env = TestEnv::with_own_cache(&["kernels", "accelerator.json"]);
    let test = env.vm_test_command(&["-k", "6.12", ONE[0], ONE[1]]);
    let ran = &env.run_after(mounts, &[&read_only(&env.path("cache"))], &test)[0];
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("failed to save the machine of 6.12"), "{}", ran.stderr);
    env.next_run_passes();
}

/// What comes of a command of `kernels`, for which nothing is built, with this cache and as somebody who does not own it.
fn by_another(_: Met, cache: &Path, words: &[&str]) -> Ran {
    let env = TestEnv::shared();
    // He cannot build it.
    env.run(&["--help"]).exits_with(0);
    let mut plain = env.prepare(Command::new(target().join("debug/xtask")));
    plain.args(words).env("HOOKLAB_CACHE", cache);
    let mut command = if Uid::effective().is_root() {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        behind(setpriv, &plain)
    } else {
        plain
    };
    env.run_command(&mut command)
}

#[test]
fn another_users_cache_is_not_written_to() {
    let reachable = needs!(ReadableCheckout);
    // Root's.
    let cache = Path::new("/usr/lib/hooklab");
    let ran = by_another(reachable, cache, &["kernels", "fetch", "6.12"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let why = "Permission denied (os error 13); it may be another user's: set HOOKLAB_CACHE to one of yours";
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
}

#[test]
fn another_users_cache_is_read_and_not_pruned() {
    let two_users = needs!(Root, ReadableCheckout);
    let theirs = tempfile::tempdir().unwrap();
    let kernels = theirs.path().join("kernels");
    fs::create_dir(&kernels).unwrap();
    fs::set_permissions(theirs.path(), Permissions::from_mode(0o755)).unwrap();
    let pinned = locked_kernel("6.12");
    for name in [pinned.file_name().unwrap().to_str().unwrap(), "a-kernel-that-is-not-pinned"] {
        let copied = Command::new("cp").arg("-rL").arg(&pinned).arg(kernels.join(name)).status();
        assert!(copied.unwrap().success());
    }
    let ran = by_another(two_users, theirs.path(), &["kernels", "fetch", "6.12"]);
    assert_eq!((ran.code, &ran.stderr[..]), (Some(0), ""));

    let before = listing(&kernels);
    let ran = by_another(two_users, theirs.path(), &["kernels", "prune"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("it may be another user's"), "{}", ran.stderr);
    assert_eq!(listing(&kernels), before);
}

/// All that is below a directory.
fn listing(directory: &Path) -> String {
    String::from_utf8(Command::new("find").arg(directory).output().unwrap().stdout).unwrap()
}

#[test]
fn a_file_system_without_hard_links_is_as_good_as_any() {
    let refuses = "#include <errno.h>\n\
                   int link(const char *from, const char *to) { errno = EPERM; return -1; }\n\
                   int linkat(int a, const char *from, int b, const char *to, int flags) { errno = EPERM; return -1; }\n";
    let env = TestEnv::with_own_cache(&["accelerator.json"]).with_library(refuses);
    let ran = env.vm_test(&["-k", "6.12", ONE[0], ONE[1]]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.kernel()["start"], "boot");
    let ran = env.vm_test(&["-k", "6.12", ONE[0], ONE[1]]);
    assert_eq!((ran.code, &ran.kernel()["start"]), (Some(0), &"resume".into()), "{}", ran.stderr);
}
