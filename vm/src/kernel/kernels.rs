//! Kernels as a whole: everything that one can ask of them.

use std::fs::File;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use serde::Serialize;

use super::catalog::Catalog;
use super::document::Document;
use super::error::Error;
use super::lock::{Lock, Pin};
use super::parts::Parts;
use super::selector::Selector;
use super::source::debian::DebianSource;
use super::source::{self, Known, Obtained};
use super::spec::Spec;
use super::types::{Kernel, Options};
use super::update::{self, Change, Standing, Update};
use crate::debian::Repository;
use crate::event::Observer;

/// Kernels to fetch at a time: enough to fill the line while others are unpacked.
const FETCHES: usize = 4;

/// The kernels of this repository and of this user's cache. Safe to use from many threads and processes at once.
#[derive(Debug)]
pub struct Kernels {
    pub(super) parts: Parts,
    /// The expired suites that an update left out.
    expired: Mutex<Vec<String>>,
    /// What this has obtained: no run prunes it as long as these are open.
    held: Mutex<Vec<File>>,
}

/// What is known of a spec without downloading anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The spec.
    pub spec: String,
    /// Whether kernel.org maintains it for years.
    pub lts: bool,
    /// Whether it is used where none is named.
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
    /// The directory.
    pub path: PathBuf,
    /// The bytes that this freed.
    pub bytes: u64,
}

impl Kernels {
    /// Reads the catalog and the pins. `cache` need not exist; nothing is written to it here.
    ///
    /// # Errors
    /// One of the two cannot be read or understood; a file of pins that is not there is empty.
    pub fn open(catalog: &Document, pins: &Document, cache: &Path, options: Options) -> Result<Self, Error> {
        let (catalog, lock) = (Catalog::read(catalog)?, Lock::read(pins)?);
        let lock_path = pins.path().to_owned();
        let parts = Parts::new(catalog, lock, lock_path, cache, options);
        Ok(Kernels { parts, expired: Mutex::default(), held: Mutex::default() })
    }

    /// What is used where no kernel is named.
    pub fn defaults(&self) -> Vec<Spec> {
        let series = self.parts.catalog.series.iter().filter(|series| series.default);
        series.map(|series| Spec::Series(series.name)).collect()
    }

    /// Each series of the catalog, in its order, and the release candidate.
    pub fn all(&self) -> Vec<Spec> {
        self.parts.catalog.specs()
    }

    /// The pinned kernels.
    pub fn pins(&self) -> &[Pin] {
        &self.parts.lock.kernels
    }

    /// The kernels that are meant, in the order of [`Kernels::all`]. A range goes by the pinned versions; as everywhere
    /// in semantic versioning, a candidate is in it only where it names one (`>=7.3.0-rc1`).
    ///
    /// # Errors
    /// No kernel is in the range, or the catalog has none that the word means.
    pub fn select(&self, selector: &Selector) -> Result<Vec<Spec>, Error> {
        selector.select(&self.parts.catalog, &self.parts.lock)
    }

    /// The same for several, each kernel once.
    ///
    /// # Errors
    /// One of them selects nothing.
    pub fn select_all(&self, selectors: &[Selector]) -> Result<Vec<Spec>, Error> {
        Selector::select_all(selectors, &self.parts.catalog, &self.parts.lock)
    }

    /// Says what a spec means, from files alone: a check of the command line that takes milliseconds.
    ///
    /// # Errors
    /// The spec names nothing that could be used: an unknown series, a file that is no kernel; with `locked` or
    /// `offline` something that is not pinned or not cached.
    pub fn resolve(&self, spec: &Spec) -> Result<Listing, Error> {
        let source = source::of(spec, &self.parts);
        let known = source.describe(spec)?;
        if !known.cached {
            source.check(spec)?;
        }
        Ok(self.listing(spec, known))
    }

    /// What is known of each of [`Kernels::all`].
    pub fn list(&self) -> Vec<Listing> {
        let known = |spec: &Spec| source::of(spec, &self.parts).describe(spec).unwrap_or_default();
        self.all().iter().map(|spec| self.listing(spec, known(spec))).collect()
    }

    fn listing(&self, spec: &Spec, known: Known) -> Listing {
        let supported = self.parts.catalog.series_of(spec);
        let Known { release, version, cached, bytes } = known;
        Listing {
            spec: spec.to_string(),
            lts: supported.is_some_and(|series| series.lts),
            default: supported.is_some_and(|series| series.default) && matches!(spec, Spec::Series(_)),
            release,
            version,
            cached,
            bytes,
        }
    }

    /// Gives the kernels that these specs name, in their order; downloads several at a time.
    pub fn obtain_all(&self, specs: &[Spec], observer: &dyn Observer) -> Vec<Result<Kernel, Error>> {
        let queue = Mutex::new(specs.iter().enumerate());
        let next = || queue.lock().ok()?.next();
        let obtain_some = || {
            let mut obtained = Vec::new();
            while let Some((place, spec)) = next() {
                obtained.push((place, self.obtain(spec, observer)));
            }
            obtained
        };
        let mut obtained: Vec<_> = thread::scope(|scope| {
            let threads = FETCHES.min(specs.len());
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(obtain_some)).collect();
            let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
            joined.flat_map(|part| part.unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        obtained.sort_by_key(|(place, _)| *place);
        obtained.into_iter().map(|(_, kernel)| kernel).collect()
    }

    /// Gives the kernel that a spec names, downloading what is missing. Nobody prunes it as long as `self` lives.
    ///
    /// # Errors
    /// The spec names nothing; the kernel cannot be downloaded, verified or kept; the options forbid it.
    pub fn obtain(&self, spec: &Spec, observer: &dyn Observer) -> Result<Kernel, Error> {
        let Obtained { kernel, lease } = source::of(spec, &self.parts).obtain(spec, observer)?;
        if let Ok(mut held) = self.held.lock() {
            held.extend(lease);
        }
        Ok(kernel)
    }

    /// Debian's archive, from which other packages than kernels can be unpacked.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.parts.repository
    }

    /// Pins each kernel of [`Kernels::all`], or `only` some of them, to its newest version and writes the lock. Says for
    /// each, in that order, what became of it. One that is not offered keeps its pin, with a warning.
    ///
    /// # Errors
    /// `only` has an unknown one; there is no usable index; the lock cannot be written.
    pub fn lock(&mut self, only: &[Selector], observer: &dyn Observer) -> Result<Vec<Change>, Error> {
        let wanted = update::chosen(only, &self.parts.catalog, &self.parts.lock)?;
        let (lock, changes) = self.update(observer)?.renew(&self.all(), &wanted, observer)?;
        lock.write(&self.parts.lock_path)?;
        self.parts.lock = lock;
        Ok(changes)
    }

    /// Says of each kernel of [`Kernels::all`], or of `only` some of them, how its pin stands. Writes no lock.
    ///
    /// # Errors
    /// `only` has an unknown one; there is no usable index.
    pub fn check(&self, only: &[Selector], observer: &dyn Observer) -> Result<Vec<Standing>, Error> {
        let wanted = update::chosen(only, &self.parts.catalog, &self.parts.lock)?;
        let update = self.update(observer)?;
        wanted.iter().map(|spec| update.standing(spec)).collect()
    }

    fn update(&self, observer: &dyn Observer) -> Result<Update<'_>, Error> {
        if self.parts.options.offline {
            return Err(Error::NoDownloads);
        }
        let update = Update::new(
            &DebianSource::new(&self.parts),
            &self.parts.lock,
            &self.parts.options.cancel,
            observer,
        )?;
        if let Ok(mut expired) = self.expired.lock() {
            *expired = update.index.expired().map(str::to_owned).collect();
        }
        Ok(update)
    }

    /// The suites that the last [`Kernels::lock`] or [`Kernels::check`] left out since their indexes have expired, and that
    /// [`Options::accept_expired`] would take.
    pub fn acceptable_suites(&self) -> Vec<String> {
        let mut expired = self.expired.lock().map(|expired| expired.clone()).unwrap_or_default();
        expired.retain(|suite| self.parts.catalog.debian.suites.rolling.contains(suite));
        expired
    }

    /// Removes from the cache what no entry of the lock names, but not what a run is fetching or using just now.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn prune(&self) -> Result<Vec<Pruned>, Error> {
        let keys: Vec<String> = self.parts.lock.kernels.iter().map(Pin::key).collect();
        let mut removed = self.parts.store().prune(&keys)?;
        removed.extend(self.parts.module_store().prune(&[])?);
        Ok(removed.into_iter().map(|(path, bytes)| Pruned { path, bytes }).collect())
    }
}
