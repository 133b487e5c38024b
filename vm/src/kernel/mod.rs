//! Kernels: what a spec means, where it comes from, what is kept of it.
//!
//! `kernels.toml` names the series, `kernels.lock` pins each to Debian packages, the cache keeps what a guest needs of
//! them. [`Kernels`] ties these together.

pub(crate) mod catalog;
pub(crate) mod error;
pub(crate) mod image;
pub(crate) mod lock;
mod selector;
pub(crate) mod source;
pub(crate) mod spec;
pub(crate) mod store;
#[cfg(test)]
mod tests;
mod update;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use serde::Serialize;

pub use catalog::{Archive, Catalog, Debian, Supported};
pub use error::Error;
pub use lock::{Lock, Package, Pin, Role};
pub use selector::{ParseSelectorError, Selector};
pub use spec::{ParseSpecError, Series, Spec};
pub use update::{Change, Standing, Verdict};

use source::local;
use store::Store;

/// How kernels may be had.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The URL of Debian's main archive; without, that of the host's own apt sources.
    pub mirror: Option<String>,
    /// The URL of Debian's security archive; without, the mirror's with `-security` appended.
    pub security_mirror: Option<String>,
    /// Take what the lock pins or nothing.
    pub locked: bool,
    /// Take what the cache has or nothing.
    pub offline: bool,
    /// Believe the rolling suites' indexes also after they have expired; their signatures are checked all the same.
    pub accept_expired: bool,
    /// Set it from anywhere to stop; the call in progress ends soon with [`Error::Cancelled`].
    pub cancel: Arc<AtomicBool>,
}

/// The kernels of this repository and of this user's cache. Safe to use from many threads and processes at once.
#[derive(Debug)]
pub struct Kernels {
    catalog: Catalog,
    lock: Lock,
    lock_path: PathBuf,
    cache: PathBuf,
    options: Options,
    /// Whether the suites that are left out have been named already.
    warned: AtomicBool,
    /// What this has obtained: no run prunes it as long as these are open.
    held: Mutex<Vec<File>>,
}

/// A kernel that can be used now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// What the user wrote.
    pub spec: String,
    /// What `uname -r` prints in the guest; `unknown` for an image that does not say.
    pub release: String,
    /// Debian's version, such as `6.12.117-1`, if it comes from there.
    pub version: Option<String>,
    /// What to boot.
    pub source: Source,
    /// Changes with the image and the modules: fit to be a part of cache keys.
    pub id: String,
}

/// What to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An image.
    Image {
        /// The bzImage.
        image: PathBuf,
        /// Its config, if there is one.
        config: Option<PathBuf>,
        /// The modules that a guest needs for its virtio-serial port: plain `.ko`, to be loaded in this order.
        modules: Vec<PathBuf>,
    },
    /// Nothing: the running kernel.
    Host,
}

/// What is known of a spec without downloading anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The spec.
    pub spec: String,
    /// Whether kernel.org maintains it for years.
    pub lts: bool,
    /// Whether a plain `vm-test` runs it.
    pub default: bool,
    /// What `uname -r` prints; none if nothing is pinned.
    pub release: Option<String>,
    /// Debian's version; none if nothing is pinned, and for kernels of the host.
    pub version: Option<String>,
    /// Whether it can be used without downloading.
    pub cached: bool,
    /// Bytes on disk if cached, else the most that would be downloaded; 0 if nothing is pinned.
    pub bytes: u64,
}

/// Something that was removed from the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// The folder.
    pub path: PathBuf,
    /// The bytes that this freed.
    pub bytes: u64,
}

impl Kernels {
    /// Reads `kernels.toml` and `kernels.lock` in `vm_dir`. `cache` need not exist; nothing is written to it here.
    ///
    /// # Errors
    /// One of the two files cannot be read or understood; a lock that is not there is empty.
    pub fn open(vm_dir: &Path, cache: &Path, options: Options) -> Result<Self, Error> {
        let lock_path = vm_dir.join("kernels.lock");
        Ok(Kernels {
            catalog: Catalog::read(&vm_dir.join("kernels.toml"))?,
            lock: Lock::read(&lock_path)?,
            lock_path,
            cache: cache.to_owned(),
            options,
            warned: AtomicBool::new(false),
            held: Mutex::default(),
        })
    }

    /// What a plain `vm-test` runs.
    pub fn defaults(&self) -> Vec<Spec> {
        let series = self.catalog.series.iter().filter(|series| series.default);
        series.map(|series| Spec::Series(series.name)).collect()
    }

    /// What `vm-test --all` runs: each series of `kernels.toml`, in its order, and the release candidate.
    pub fn all(&self) -> Vec<Spec> {
        self.catalog.specs()
    }

    /// The pinned kernels.
    pub fn pins(&self) -> &[Pin] {
        &self.lock.kernels
    }

    /// Says what a spec means, from files alone: a check of the command line that takes milliseconds.
    ///
    /// # Errors
    /// The spec names nothing that could be had: an unknown series, a file that is no kernel; with `locked` or
    /// `offline` something that is not pinned or not cached.
    pub fn resolve(&self, spec: &Spec) -> Result<Listing, Error> {
        let listing = match spec {
            Spec::Host => self.describe(spec, Some(local::host_release()?)),
            Spec::Path(path) => self.describe(spec, Some(local::find(path)?.release)),
            Spec::Series(_) | Spec::Release(_) | Spec::Candidate => {
                self.check_known(spec)?;
                self.describe(spec, None)
            }
        };
        if !listing.cached {
            self.check_allowed(spec)?;
        }
        Ok(listing)
    }

    /// What is known of each of [`Kernels::all`].
    pub fn list(&self) -> Vec<Listing> {
        self.all().iter().map(|spec| self.describe(spec, None)).collect()
    }

    /// Puts together what is known of a spec; `local` is the release of a kernel of the host.
    fn describe(&self, spec: &Spec, local: Option<String>) -> Listing {
        let supported = self.catalog.series.iter().find(|series| Some(series.name) == spec.series());
        let pin = self.lock.find(spec);
        let stored = pin.and_then(|pin| self.store().get(&pin.key()));
        let download = pin.map_or(0, Pin::download_size);
        Listing {
            spec: spec.to_string(),
            lts: supported.is_some_and(|series| series.lts),
            default: supported.is_some_and(|series| series.default) && matches!(spec, Spec::Series(_)),
            cached: local.is_some() || stored.is_some(),
            release: local.or_else(|| pin.map(|pin| pin.release.clone())),
            version: pin.map(|pin| pin.version.clone()),
            bytes: stored.map_or(download, |stored| stored.record.bytes),
        }
    }

    /// Removes from the cache what no entry of the lock names, but not what a run is fetching or using just now.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn prune(&self) -> Result<Vec<Pruned>, Error> {
        let keys: Vec<String> = self.lock.kernels.iter().map(Pin::key).collect();
        let mut removed = self.store().prune(&keys)?;
        removed.extend(self.module_store().prune(&[])?);
        Ok(removed.into_iter().map(|(path, bytes)| Pruned { path, bytes }).collect())
    }

    fn store(&self) -> Store {
        Store::new(self.cache.join("kernels"))
    }

    /// The modules of local images.
    fn module_store(&self) -> Store {
        Store::new(self.cache.join("modules"))
    }

    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    pub(crate) fn cancel(&self) -> &AtomicBool {
        &self.options.cancel
    }
}
