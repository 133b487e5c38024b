//! Compiles the functions that the host's `libelf.a` lacks, if it lacks them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const STAND_IN: &str = "elfutils_0_192.c";

fn main() {
    println!("cargo::rerun-if-changed={STAND_IN}");
    println!("cargo::rerun-if-env-changed=LIBBPF_SYS_LIBRARY_PATH");
    let directories = env::var("LIBBPF_SYS_LIBRARY_PATH").unwrap_or_default();
    let mut candidates = directories.split(':').map(|directory| Path::new(directory).join("libelf.a"));
    let library: Option<PathBuf> = candidates.find(|path| path.exists());
    if library.is_some_and(|library| lacks_search_tree(&library)) {
        // As a whole archive, so that its position among the libraries does not matter.
        cc::Build::new().file(STAND_IN).link_lib_modifier("+whole-archive").compile("elfutils_0_192");
    }
}

/// Whether the archive calls a function of elfutils' internal library and does not have it.
fn lacks_search_tree(library: &Path) -> bool {
    let Ok(output) = Command::new("nm").arg(library).output() else { return false };
    let symbols = String::from_utf8_lossy(&output.stdout).into_owned();
    let has = |kind: &str| symbols.lines().any(|line| line.ends_with(&format!("{kind} eu_search_tree_init")));
    has(" U") && !has(" T")
}
