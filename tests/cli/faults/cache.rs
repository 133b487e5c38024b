//! A cache that is not as one would have it: read-only, another user's, without hard links.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::Uid;

use super::around::behind;
use super::site::{ONE, Ran, Site};
use crate::gate::{Met, needs};
use crate::support::lab::{locked_kernel, users_cache};
use crate::support::root;

/// A user who owns nothing, by number: Debian's `nobody`.
const NOBODY: &str = "65534";

/// Shell that makes a folder read-only.
fn read_only(folder: &Path) -> String {
    format!("mount --bind {0} {0} && mount -o remount,bind,ro {0}", folder.display())
}

#[test]
fn a_read_only_cache_that_has_all_serves_as_any_other() {
    let mounts = needs!(Mounts);
    let site = Site::new();
    site.goes_on();
    let json = site.path("out.json");
    let test = site.command(&["vm-test", "-k", "6.12", ONE[0], ONE[1], "--json", json.to_str().unwrap()]);
    let ran = site.run_after(mounts, &[&read_only(&users_cache())], &test);
    assert_eq!(ran[0].code, Some(0), "{}{}", ran[0].stdout, ran[0].stderr);
    assert_eq!(ran[0].kernel()["start"], "resume", "{}", ran[0].stderr);
    assert!(!ran[0].stderr.contains("saved machine"), "{}", ran[0].stderr);
}

#[test]
fn a_read_only_cache_that_lacks_something_is_an_error_or_a_warning() {
    let mounts = needs!(Mounts);
    let site = Site::without(&["kernels"]);
    let test = |words: &[&str]| {
        let json = site.path("out.json");
        let words = [&["vm-test", "-k", "6.12", ONE[0]], words, &["--json", json.to_str().unwrap()]].concat();
        site.run_after(mounts, &[&read_only(&site.path("cache"))], &site.command(&words)).remove(0)
    };
    let ran = test(&[]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let why = "Read-only file system (os error 30); set HOOKLAB_CACHE to another directory";
    assert!(ran.stderr.contains("error: failed to create") && ran.stderr.contains(why), "{}", ran.stderr);

    let site = Site::without(&["machines", "composed"]);
    let json = site.path("out.json");
    let words = ["vm-test", "-k", "6.12", ONE[0], ONE[1], "--json", json.to_str().unwrap()];
    let ran = &site.run_after(mounts, &[&read_only(&site.path("cache"))], &site.command(&words))[0];
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("failed to save the machine of 6.12"), "{}", ran.stderr);
    site.goes_on();
}

/// What comes of a command of `kernels`, for which nothing is built, with this cache and as somebody who does not own it.
fn by_another(_: Met, cache: &Path, words: &[&str]) -> Ran {
    let site = Site::new();
    // He cannot build it.
    assert!(site.command(&["--help"]).output().unwrap().status.success());
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let mut plain = Command::new(target.join("debug/xtask"));
    plain.args(words).current_dir(root()).env("HOOKLAB_CACHE", cache).env("NO_COLOR", "1");
    let mut command = if Uid::effective().is_root() {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        behind(setpriv, &plain)
    } else {
        plain
    };
    let ran = Ran::of(&command.output().unwrap());
    site.is_clean();
    ran
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

/// All that is below a folder.
fn listing(folder: &Path) -> String {
    String::from_utf8(Command::new("find").arg(folder).output().unwrap().stdout).unwrap()
}

#[test]
fn a_file_system_without_hard_links_is_as_good_as_any() {
    let refuses = "#include <errno.h>\n\
                   int link(const char *from, const char *to) { errno = EPERM; return -1; }\n\
                   int linkat(int a, const char *from, int b, const char *to, int flags) { errno = EPERM; return -1; }\n";
    let site = Site::without(&["kernels", "machines", "composed"]).with_library(refuses);
    let ran = site.run(&["-k", "6.12", ONE[0], ONE[1]]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.kernel()["start"], "boot");
    let ran = site.run(&["-k", "6.12", ONE[0], ONE[1]]);
    assert_eq!((ran.code, &ran.kernel()["start"]), (Some(0), &"resume".into()), "{}", ran.stderr);
}
