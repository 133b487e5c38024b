//! Notes what was loaded, for the report: a file below the directory from which files travel to the host.

use std::env;
use std::fs::{self, File};
use std::io::IoSlice;
use std::path::Path;

use nix::sys::uio::writev;

/// Adds the line in which a loader says what it attached. A report without it is no failure of the test.
pub(crate) fn note(line: &str) {
    let Some(root) = env::var_os("INSTA_WORKSPACE_ROOT") else { return };
    let directory = Path::new(&root).join("loads");
    // One file for each test: each has a process of its own.
    let path = directory.join(format!("{}.jsonl", std::process::id()));
    let file =
        fs::create_dir_all(&directory).and_then(|()| File::options().create(true).append(true).open(path));
    if let Ok(file) = file {
        // By writev(), as everything that a test does while a program is attached.
        let _ = writev(file, &[IoSlice::new(line.as_bytes())]);
    }
}
