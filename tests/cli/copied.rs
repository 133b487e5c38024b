//! A copied checkout that shares its target directory with the original: each is to test itself.

use std::fs::{self, File};
use std::path::Path;

use crate::support::{TestEnv, root, target};

/// Copies a directory with the times of its files, by which cargo knows what is up to date, and without what was built.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in from.read_dir().unwrap().flatten() {
        let (from, to, kind) = (entry.path(), to.join(entry.file_name()), entry.file_type().unwrap());
        if kind.is_symlink() {
            std::os::unix::fs::symlink(from.read_link().unwrap(), to).unwrap();
        } else if kind.is_file() {
            fs::copy(&from, &to).unwrap();
            let modified = entry.metadata().unwrap().modified().unwrap();
            File::open(&to).unwrap().set_modified(modified).unwrap();
        } else if entry.file_name() != ".git" && !from.join("CACHEDIR.TAG").exists() {
            copy(&from, &to);
        }
    }
}

#[test]
fn a_copied_checkout_compares_with_its_own_snapshots() {
    let env = TestEnv::shared();
    let checkout = env.path("checkout");
    copy(root(), &checkout);
    let test = || {
        // The program in Rust is built anew in each checkout, which takes long and adds nothing.
        let words = ["-k", "6.12", "--program", "c", "filter::one_pid [aya minimal-c]"];
        let mut command = env.vm_test_command(&words);
        env.run_command(command.current_dir(&checkout).env("CARGO_TARGET_DIR", target()))
    };
    let ran = test().exits_with(0);
    assert_eq!(ran.outcomes(), ["filter::one_pid passed"], "{}", ran.stdout);

    let name = "tests/guest/snapshots/one-pid.snap";
    let snapshot = fs::read_to_string(checkout.join(name)).unwrap();
    let spoilt = snapshot.replace("triggered sys_enter_write", "triggered sys_enter_read");
    assert_ne!(spoilt, snapshot);
    fs::write(checkout.join(name), spoilt).unwrap();

    let ran = test().exits_with(1);
    assert_eq!(ran.outcomes(), ["filter::one_pid failed"], "{}", ran.stdout);
    assert!(ran.message("filter::one_pid").contains("triggered sys_enter_read"), "{}", ran.stdout);
    // What the test saw goes beside the snapshot that it was compared with.
    let new = format!("{name}.new");
    assert!(checkout.join(&new).exists() && !root().join(&new).exists(), "{}", ran.stdout);
}
