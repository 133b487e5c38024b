//! What the cache keeps of a kernel, or of a local image's modules.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::image::Module;
use crate::cache;

/// The schema of [`Record`]; a directory with another one is replaced.
const SCHEMA: u32 = 1;

/// Half-made directories older than this are swept: nobody resumes them any more.
pub(super) const STALE: Duration = Duration::from_secs(24 * 60 * 60);

const IMAGE: &str = "vmlinuz";
const CONFIG: &str = "config";
const MODULES: &str = "modules";

/// A store of kernels or of parts of them.
pub(super) type Store = cache::Store<Record>;

/// A kernel, or a part of one.
pub(super) type Stored = cache::Stored<Record>;

/// The work on one.
pub(super) type Work<'a> = cache::Work<'a, Record>;

/// What is in a directory of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    schema: u32,
    /// What `uname -r` prints.
    pub(super) release: String,
    /// Debian's version, if it comes from there.
    pub(super) version: Option<String>,
    image: bool,
    config: bool,
    /// File names in load order.
    modules: Vec<String>,
    /// Of all files.
    pub(super) bytes: u64,
}

impl cache::Record for Record {
    const FILE: &'static str = "kernel.json";

    fn is_whole(&self, directory: &Path) -> bool {
        self.schema == SCHEMA && (!self.image || directory.join(IMAGE).exists())
    }
}

impl Stored {
    /// The kernel image.
    pub(super) fn image(&self) -> PathBuf {
        self.directory.join(IMAGE)
    }

    /// The config, if there is one.
    pub(super) fn config(&self) -> Option<PathBuf> {
        self.record.config.then(|| self.directory.join(CONFIG))
    }

    /// The modules in load order.
    pub(super) fn modules(&self) -> Vec<PathBuf> {
        self.record.modules.iter().map(|name| self.directory.join(MODULES).join(name)).collect()
    }
}

impl Work<'_> {
    /// Begins to put a kernel together.
    pub(super) fn start(&self) -> Result<Filling<'_>, Error> {
        let record = Record {
            schema: SCHEMA,
            release: String::new(),
            version: None,
            image: false,
            config: false,
            modules: Vec::new(),
            bytes: 0,
        };
        Ok(Filling { files: self.fill()?, record })
    }
}

/// A kernel that is being put together.
pub(super) struct Filling<'a> {
    files: cache::Filling<'a, Record>,
    record: Record,
}

impl Filling<'_> {
    /// Puts the image in.
    pub(super) fn image(&mut self, content: impl io::Read) -> Result<PathBuf, Error> {
        self.record.image = true;
        Ok(self.files.put(IMAGE, content)?)
    }

    /// Puts the config in.
    pub(super) fn config(&mut self, content: impl io::Read) -> Result<PathBuf, Error> {
        self.record.config = true;
        Ok(self.files.put(CONFIG, content)?)
    }

    /// Puts the modules in, in load order.
    pub(super) fn modules(&mut self, modules: &[Module]) -> Result<(), Error> {
        for (index, module) in modules.iter().enumerate() {
            let name = format!("{index:02}-{}.ko", module.name);
            self.files.put(&format!("{MODULES}/{name}"), &module.content[..])?;
            self.record.modules.push(name);
        }
        Ok(())
    }

    /// Whether the image is in.
    pub(super) fn has_image(&self) -> bool {
        self.record.image
    }

    /// Whether the config is in.
    pub(super) fn has_config(&self) -> bool {
        self.record.config
    }

    /// Where the config is, if it is in.
    pub(super) fn config_path(&self) -> Option<PathBuf> {
        self.record.config.then(|| self.files.directory().join(CONFIG))
    }

    /// Gives the kernel its name.
    pub(super) fn finish(mut self, release: &str, version: Option<&str>) -> Result<Stored, Error> {
        self.record.release = release.to_owned();
        self.record.version = version.map(str::to_owned);
        self.record.bytes = self.files.bytes();
        Ok(self.files.finish(&self.record)?)
    }
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
