//! Debian's packages: the lock first, then the cache, then the mirror, and only then Debian's indexes.

mod fetch;
pub(in crate::kernel) mod offer;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use self::fetch::Fetch;
use self::offer::Offer;
use super::{KernelSource, Known, Obtained};
use crate::debian::{self, Index, Repository, compare};
use crate::event::{Event, Observer};
use crate::kernel::catalog::Catalog;
use crate::kernel::error::Error;
use crate::kernel::lock::{Lock, Pin};
use crate::kernel::parts::Parts;
use crate::kernel::spec::Spec;
use crate::kernel::stored::{STALE, Store, Stored};
use crate::kernel::types::{Kernel, Options, Source};

/// Kernels that Debian packages: what the catalog names, pinned by the lock.
pub(in crate::kernel) struct DebianSource<'a> {
    catalog: &'a Catalog,
    lock: &'a Lock,
    lock_path: &'a Path,
    repository: &'a Repository,
    cache: &'a Path,
    store: Store,
    options: &'a Options,
}

impl KernelSource for DebianSource<'_> {
    fn describe(&self, spec: &Spec) -> Result<Known, Error> {
        self.check_known(spec)?;
        let Some(pin) = self.lock.find(spec) else { return Ok(Known::default()) };
        let stored = self.store.get(&pin.key());
        Ok(Known {
            release: Some(pin.release.clone()),
            version: Some(pin.version.clone()),
            cached: stored.is_some(),
            bytes: stored.map_or(pin.download_size(), |stored| stored.record.bytes),
        })
    }

    fn check(&self, spec: &Spec) -> Result<(), Error> {
        if self.options.locked && self.lock.find(spec).is_none() {
            return Err(Error::NotPinned { spec: spec.to_string(), lock: self.lock_path.to_owned() });
        }
        // Without `locked`, another kernel of the series will do.
        let usable = |stored: Option<Stored>| stored.is_some() && !self.options.locked;
        if self.options.offline && !usable(self.cached(spec)?) {
            return Err(self.not_cached(spec));
        }
        Ok(())
    }

    /// A pinned kernel that is cached takes milliseconds and writes nothing. Where the mirror has dropped a pinned kernel,
    /// the newest of its series is taken with a warning.
    fn obtain(&self, spec: &Spec, observer: &dyn Observer) -> Result<Obtained, Error> {
        // Again, if another run has pruned it just now.
        let (stored, lease) = loop {
            let stored = self.obtain_packaged(spec, observer)?;
            if let Some(lease) = self.store.hold(&stored) {
                break (stored, lease);
            }
        };
        let source =
            Source::Image { image: stored.image(), config: stored.config(), modules: stored.modules() };
        let (release, version) = (stored.record.release, stored.record.version);
        let kernel = Kernel { spec: spec.to_string(), release, version, source, id: stored.key };
        Ok(Obtained { kernel, lease: Some(lease) })
    }
}

impl<'a> DebianSource<'a> {
    pub(in crate::kernel) fn new(parts: &'a Parts) -> Self {
        let Parts { catalog, lock, lock_path, repository, cache, options } = parts;
        Self { catalog, lock, lock_path, repository, cache, store: parts.store(), options }
    }

    fn obtain_packaged(&self, spec: &Spec, observer: &dyn Observer) -> Result<Stored, Error> {
        self.check_known(spec)?;
        let Some(pin) = self.lock.find(spec) else { return self.obtain_unpinned(spec, observer) };
        if let Some(stored) = self.store.get(&pin.key()) {
            return Ok(stored);
        }
        self.check(spec)?;
        if self.options.offline {
            return self.cached_instead(spec, pin, observer);
        }
        match self.fetch(pin, observer) {
            Err(Error::Debian(debian::Error::Gone { package, version })) => {
                self.replace(spec, pin, &package, &version, observer)
            }
            result => result,
        }
    }

    /// A kernel that the lock does not know: a release that someone asked for by its number, or a new series.
    fn obtain_unpinned(&self, spec: &Spec, observer: &dyn Observer) -> Result<Stored, Error> {
        self.check(spec)?;
        // A release does not change, so one that is cached need not be looked up; a series may have moved on.
        let cached = self.cached(spec)?;
        if let Some(stored) = cached.filter(|_| self.options.offline || matches!(spec, Spec::Release(_))) {
            return Ok(stored);
        }
        let offers = self.offers(&self.index(false, observer)?);
        let Some(offer) = offer::newest(&offers, spec, self.cancel())? else {
            return Err(self.not_offered(spec, &offers)?);
        };
        self.obtain_offer(offer, spec, observer)
    }

    fn obtain_offer(&self, offer: Offer, spec: &Spec, observer: &dyn Observer) -> Result<Stored, Error> {
        let pin = offer.pin(spec);
        match self.store.get(&pin.key()) {
            Some(stored) => Ok(stored),
            None => self.fetch(&pin, observer),
        }
    }

    /// What serves instead of a pinned kernel that the mirror has dropped.
    fn replace(
        &self,
        spec: &Spec,
        pin: &Pin,
        package: &str,
        version: &str,
        observer: &dyn Observer,
    ) -> Result<Stored, Error> {
        let mut offers = self.offers(&self.index(false, observer)?);
        if offers.iter().any(|offer| offer.is(pin)) {
            // What we have of the index still has it: it is older than the mirror's.
            offers = self.offers(&self.index(true, observer)?);
        }
        // The same files in another place are the same kernel: security updates move to the main archive.
        if let Some(moved) = offers.iter().find(|offer| offer.is(pin)) {
            return self.fetch(&moved.clone().pin(spec), observer);
        }
        if self.options.locked {
            return Err(Error::PinGone {
                spec: spec.to_string(),
                package: package.to_owned(),
                version: version.to_owned(),
                available: self.versions(spec, &offers)?,
            });
        }
        let Some(offer) = offer::newest(&offers, spec, self.cancel())? else {
            return Err(self.not_offered(spec, &offers)?);
        };
        observer.notify(Event::Warning(format!(
            "the mirror no longer has {package} {version}, which the lock pins for {spec}; using {} instead until the \
             lock is renewed",
            offer.version
        )));
        self.obtain_offer(offer, spec, observer)
    }

    /// What the cache has instead of a pinned kernel, when nothing may be downloaded.
    fn cached_instead(&self, spec: &Spec, pin: &Pin, observer: &dyn Observer) -> Result<Stored, Error> {
        let Some(stored) = self.cached(spec)? else { return Err(self.not_cached(spec)) };
        observer.notify(Event::Warning(format!(
            "the cache does not have {}, which the lock pins for {spec}; using {} instead",
            pin.release, stored.record.release
        )));
        Ok(stored)
    }

    /// The newest that the cache has of a spec.
    fn cached(&self, spec: &Spec) -> Result<Option<Stored>, Error> {
        let mut best: Option<(Stored, String)> = None;
        for stored in self.store.all() {
            let Some(version) = stored.record.version.clone() else { continue };
            if !spec.matches(&stored.record.release, &version) {
                continue;
            }
            let better = match &best {
                Some((_, known)) => compare(&version, known, self.cancel())?.is_gt(),
                None => true,
            };
            if better {
                best = Some((stored, version));
            }
        }
        Ok(best.map(|(stored, _)| stored))
    }

    /// Downloads a pinned kernel, unless another process has just done so.
    fn fetch(&self, pin: &Pin, observer: &dyn Observer) -> Result<Stored, Error> {
        let store = &self.store;
        let waiting = || {
            let text = format!("waiting for another run that downloads {}", pin.release);
            observer.notify(Event::Step(text));
        };
        let work = store.begin(&pin.key(), self.cancel(), waiting)?;
        if let Some(stored) = store.get(&pin.key()) {
            return Ok(stored);
        }
        store.sweep(STALE);
        let apt = self.repository.apt()?;
        Fetch { apt: &apt, cancel: self.cancel(), observer }.kernel(pin, &work)
    }

    /// What Debian's suites have. An index that is a few hours old will do, unless `afresh`.
    pub(in crate::kernel) fn index(&self, afresh: bool, observer: &dyn Observer) -> Result<Index, Error> {
        Ok(self.repository.index(&offer::KERNELS, afresh, observer)?)
    }

    /// The kernels of an index in the flavours that will do.
    pub(in crate::kernel) fn offers(&self, index: &Index) -> Vec<Offer> {
        offer::offers(index, &self.catalog.debian.flavours)
    }

    /// Refuses specs of series that nobody knows, without looking anywhere.
    pub(in crate::kernel) fn check_known(&self, spec: &Spec) -> Result<(), Error> {
        if self.catalog.series_of(spec).is_some()
            || self.catalog.specs().contains(spec)
            || self.lock.find(spec).is_some()
        {
            return Ok(());
        }
        Err(self.catalog.unknown(spec))
    }

    fn not_cached(&self, spec: &Spec) -> Error {
        let pin = self.lock.find(spec);
        let what = pin.map_or_else(|| "not pinned".to_owned(), |pin| pin.release.clone());
        Error::NotCached { spec: spec.to_string(), what, cache: self.cache.to_owned() }
    }

    fn not_offered(&self, spec: &Spec, offers: &[Offer]) -> Result<Error, Error> {
        Ok(Error::NotOffered { spec: spec.to_string(), available: self.versions(spec, offers)? })
    }

    fn versions(&self, spec: &Spec, offers: &[Offer]) -> Result<Vec<String>, Error> {
        // Of a release that is not there, its series.
        let spec = spec.series().map_or_else(|| spec.clone(), Spec::Series);
        offer::newest_versions(offers, &spec, self.cancel())
    }

    pub(in crate::kernel) fn cancel(&self) -> &AtomicBool {
        &self.options.cancel
    }
}
