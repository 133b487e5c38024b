//! What is in a folder of the kernel's that was not there before.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::Watcher;

/// The names in a folder.
pub(super) struct Listing {
    folder: &'static Path,
    before: BTreeSet<OsString>,
}

impl Listing {
    pub(super) fn now(folder: &'static str) -> Self {
        let folder = Path::new(folder);
        Self { folder, before: names(folder).collect() }
    }

    /// Names that are new, in order.
    pub(super) fn added(&self) -> Vec<OsString> {
        let mut added: Vec<OsString> =
            names(self.folder).filter(|name| !self.before.contains(name)).collect();
        added.sort();
        added
    }
}

/// Nothing where there is no such folder.
fn names(folder: &Path) -> impl Iterator<Item = OsString> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name())
}

/// Network interfaces: one half of a pair stays while the other's network namespace is being taken down.
pub(super) struct Interfaces(Listing);

impl Interfaces {
    pub(super) fn now() -> Self {
        Self(Listing::now("/sys/class/net"))
    }
}

impl Watcher for Interfaces {
    fn left(&mut self) -> Vec<String> {
        self.0.added().iter().map(|name| format!("network interface {}", name.display())).collect()
    }
}
