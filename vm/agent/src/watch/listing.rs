//! New entries in directories of virtual file systems.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::Watcher;

/// The names of the entries in a directory.
pub(super) struct Listing {
    directory: &'static Path,
    before: BTreeSet<OsString>,
}

impl Listing {
    pub(super) fn now(directory: &'static str) -> Self {
        let directory = Path::new(directory);
        Self { directory, before: names(directory).collect() }
    }

    /// The new names, sorted.
    pub(super) fn added(&self) -> Vec<OsString> {
        let mut added: Vec<OsString> =
            names(self.directory).filter(|name| !self.before.contains(name)).collect();
        added.sort();
        added
    }
}

/// The names of the entries; none if the directory does not exist.
fn names(directory: &Path) -> impl Iterator<Item = OsString> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name())
}

/// Network interfaces. One of a pair remains until the kernel has destroyed the network namespace of the other.
pub(super) struct Interfaces(Listing);

impl Interfaces {
    pub(super) fn now() -> Self {
        Self(Listing::now("/sys/class/net"))
    }
}

impl Watcher for Interfaces {
    fn leaks(&mut self) -> Vec<String> {
        self.0.added().iter().map(|name| format!("network interface {}", name.display())).collect()
    }
}
