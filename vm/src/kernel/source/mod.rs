//! Where kernels come from.

mod contents;
pub(super) mod debian;
mod local;
mod package_file;

use std::fs::File;

pub(super) use local::LocalSource;

use super::error::Error;
use super::parts::Parts;
use super::spec::Spec;
use super::types::Kernel;
use crate::event::Observer;

/// A place that kernels come from.
pub(super) trait KernelSource {
    /// Says what is known of a kernel, from files alone.
    ///
    /// # Errors
    /// The spec names nothing that there could be.
    fn describe(&self, spec: &Spec) -> Result<Known, Error>;

    /// Refuses what [`KernelSource::obtain`] would refuse without asking anybody, of a kernel that is not cached.
    ///
    /// # Errors
    /// The options forbid it.
    fn check(&self, spec: &Spec) -> Result<(), Error>;

    /// Makes a kernel usable.
    ///
    /// # Errors
    /// It cannot be downloaded, verified or kept; the options forbid it.
    fn obtain(&self, spec: &Spec, observer: &dyn Observer) -> Result<Obtained, Error>;
}

/// What is known of a kernel.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// What `uname -r` prints.
    pub(super) release: Option<String>,
    /// Debian's version.
    pub(super) version: Option<String>,
    /// Whether it can be used without downloading.
    pub(super) cached: bool,
    /// Bytes on disk if cached, else the most that would be downloaded.
    pub(super) bytes: u64,
}

/// A kernel that can be used.
#[derive(Debug)]
pub(super) struct Obtained {
    pub(super) kernel: Kernel,
    /// As long as it is open, nobody prunes what there is of the kernel in the cache.
    pub(super) lease: Option<File>,
}

/// The source that a spec belongs to.
pub(super) fn of<'a>(spec: &'a Spec, parts: &'a Parts) -> Box<dyn KernelSource + 'a> {
    match spec {
        Spec::Path(path) if package_file::is_package(path) => {
            Box::new(package_file::PackageFile::new(path, parts))
        }
        Spec::Path(_) | Spec::Host => Box::new(LocalSource::new(parts)),
        Spec::Series(_) | Spec::Release(_) | Spec::Candidate => Box::new(debian::DebianSource::new(parts)),
    }
}
