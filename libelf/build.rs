//! Makes a static build link where the host's `libelf.a` is that of elfutils 0.192 (Debian 13, Ubuntu 25.04): the build
//! script of every crate with a program that links libelf.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Below the checkout, which is above the crates that use this.
const STAND_IN: &str = "libelf/elfutils_0_192.c";

fn main() {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let stand_in = package.ancestors().map(|folder| folder.join(STAND_IN)).find(|path| path.exists());
    let stand_in = stand_in.expect("it is there");
    println!("cargo::rerun-if-changed={}", stand_in.display());
    println!("cargo::rerun-if-env-changed=LIBBPF_SYS_LIBRARY_PATH");
    if env::var_os("CARGO_FEATURE_STATIC").is_none() {
        return;
    }
    let folders = env::var("LIBBPF_SYS_LIBRARY_PATH").unwrap_or_default();
    let library =
        folders.split(':').map(|folder| Path::new(folder).join("libelf.a")).find(|path| path.exists());
    if library.is_some_and(|library| lacks_search_tree(&library)) {
        // As an object, not in an archive: it is linked wherever in the line libelf stands.
        let objects: Vec<PathBuf> = cc::Build::new().file(stand_in).compile_intermediates();
        for object in objects {
            println!("cargo::rustc-link-arg-bins={}", object.display());
        }
    }
}

/// Whether the archive calls a function of elfutils' internal library and does not have it.
fn lacks_search_tree(library: &Path) -> bool {
    let Ok(output) = Command::new("nm").arg(library).output() else { return false };
    let symbols = String::from_utf8_lossy(&output.stdout).into_owned();
    let has = |kind: &str| symbols.lines().any(|line| line.ends_with(&format!("{kind} eu_search_tree_init")));
    has(" U") && !has(" T")
}
