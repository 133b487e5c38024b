//! What sources of kernels work with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalog::Catalog;
use super::lock::Lock;
use super::stored::Store;
use super::types::Options;
use crate::arch;
use crate::debian::{self, Repository};

/// The files of this repository and this user's cache, used as the options say.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) catalog: Catalog,
    pub(super) lock: Lock,
    pub(super) lock_path: PathBuf,
    pub(super) cache: PathBuf,
    pub(super) options: Options,
    /// Debian's archive.
    pub(super) repository: Repository,
}

impl Parts {
    pub(super) fn new(
        catalog: Catalog,
        lock: Lock,
        lock_path: PathBuf,
        cache: &Path,
        options: Options,
    ) -> Self {
        let suites = catalog.debian.suites.clone();
        let of_debian = debian::Options {
            mirror: options.mirror.clone(),
            security_mirror: options.security_mirror.clone(),
            accept_expired: options.accept_expired,
            cancel: Arc::clone(&options.cancel),
        };
        let repository = Repository::new(cache.join("apt"), suites, arch::GUEST.debian, of_debian);
        Self { catalog, lock, lock_path, cache: cache.to_owned(), options, repository }
    }

    /// The kernels in the cache.
    pub(super) fn store(&self) -> Store {
        Store::new(self.cache.join("kernels"))
    }

    /// The modules of local images.
    pub(super) fn module_store(&self) -> Store {
        Store::new(self.cache.join("modules"))
    }
}
