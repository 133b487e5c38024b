//! From a spec to files: the lock first, then the cache, then the mirror, and only then Debian's indexes.

mod fetch;
pub(crate) mod offer;

use std::fs;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::thread;

use crate::debian::apt::Apt;
use crate::debian::index::Index;
use crate::debian::mirror::Mirror;
use crate::event::{Event, Observer};
use crate::host::file_lock;
use crate::kernel::error::Error;
use crate::kernel::lock::Pin;
use crate::kernel::source::debian::fetch::Fetch;
use crate::kernel::source::debian::offer::{self as debian, Offer};
use crate::kernel::source::local;
use crate::kernel::spec::Spec;
use crate::kernel::store::{Store, Stored};
use crate::kernel::{Kernel, Kernels, Source};

/// Kernels to fetch at a time: enough to fill the line while others are unpacked.
const FETCHES: usize = 4;

impl Kernels {
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
    /// A pinned kernel that is cached takes milliseconds and writes nothing. Where the mirror has dropped a pinned
    /// kernel, the newest of its series is taken with a warning.
    ///
    /// # Errors
    /// The spec names nothing; the kernel cannot be downloaded, verified or kept; the options forbid it.
    pub fn obtain(&self, spec: &Spec, observer: &dyn Observer) -> Result<Kernel, Error> {
        match spec {
            Spec::Host => {
                let release = local::host_release()?;
                let id = format!("host-{release}");
                Ok(Kernel { spec: spec.to_string(), release, version: None, source: Source::Host, id })
            }
            Spec::Path(path) => self.obtain_local(spec, &local::find(path)?),
            Spec::Series(_) | Spec::Release(_) | Spec::Candidate => {
                // Again, if another run has pruned it just now.
                let stored = loop {
                    let stored = self.obtain_packaged(spec, observer)?;
                    if self.hold(&self.store(), &stored) {
                        break stored;
                    }
                };
                let source = Source::Image {
                    image: stored.image(),
                    config: stored.config(),
                    modules: stored.modules(),
                };
                let (release, version) = (stored.record.release, stored.record.version);
                Ok(Kernel { spec: spec.to_string(), release, version, source, id: stored.key })
            }
        }
    }

    fn obtain_local(&self, spec: &Spec, found: &local::LocalImage) -> Result<Kernel, Error> {
        let store = self.module_store();
        let modules = loop {
            let modules = found.modules(&store, self.cancel())?;
            if modules.as_ref().is_none_or(|stored| self.hold(&store, stored)) {
                break modules;
            }
        };
        let id = found.id(modules.as_ref())?;
        let source = Source::Image {
            image: found.image.clone(),
            config: found.config.clone(),
            modules: modules.map(|stored| stored.modules()).unwrap_or_default(),
        };
        Ok(Kernel { spec: spec.to_string(), release: found.release.clone(), version: None, source, id })
    }

    /// Keeps a folder of the cache from being pruned; says whether it was still there.
    fn hold(&self, store: &Store, stored: &Stored) -> bool {
        let Some(lock) = store.hold(stored) else { return false };
        if let Ok(mut held) = self.held.lock() {
            held.push(lock);
        }
        true
    }

    fn obtain_packaged(&self, spec: &Spec, observer: &dyn Observer) -> Result<Stored, Error> {
        self.check_known(spec)?;
        let Some(pin) = self.lock.find(spec) else { return self.obtain_unpinned(spec, observer) };
        if let Some(stored) = self.store().get(&pin.key()) {
            return Ok(stored);
        }
        self.check_allowed(spec)?;
        if self.options.offline {
            return self.cached_instead(spec, pin, observer);
        }
        match self.fetch(pin, observer) {
            Err(Error::Gone { package, version }) => self.replace(spec, pin, &package, &version, observer),
            result => result,
        }
    }

    /// A kernel that the lock does not know: a release that someone asked for by its number, or a new series.
    fn obtain_unpinned(&self, spec: &Spec, observer: &dyn Observer) -> Result<Stored, Error> {
        self.check_allowed(spec)?;
        // A release does not change, so one that is cached need not be looked up; a series may have moved on.
        let cached = self.cached(spec)?;
        if let Some(stored) = cached.filter(|_| self.options.offline || matches!(spec, Spec::Release(_))) {
            return Ok(stored);
        }
        let offers = self.offers(&self.index(false, observer)?);
        let Some(offer) = debian::newest(&offers, spec, self.cancel())? else {
            return Err(self.not_offered(spec, &offers)?);
        };
        self.obtain_offer(offer, spec, observer)
    }

    fn obtain_offer(&self, offer: Offer, spec: &Spec, observer: &dyn Observer) -> Result<Stored, Error> {
        let pin = offer.pin(spec);
        match self.store().get(&pin.key()) {
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
        let Some(offer) = debian::newest(&offers, spec, self.cancel())? else {
            return Err(self.not_offered(spec, &offers)?);
        };
        observer.notify(Event::Warning(format!(
            "the mirror no longer has {package} {version}, which kernels.lock pins for {spec}; using {} instead \
             (`cargo xtask kernels lock` pins what is there)",
            offer.version
        )));
        self.obtain_offer(offer, spec, observer)
    }

    /// What the cache has instead of a pinned kernel, when nothing may be downloaded.
    fn cached_instead(&self, spec: &Spec, pin: &Pin, observer: &dyn Observer) -> Result<Stored, Error> {
        let Some(stored) = self.cached(spec)? else { return Err(self.not_cached(spec)) };
        observer.notify(Event::Warning(format!(
            "the cache does not have {}, which kernels.lock pins for {spec}; using {} instead",
            pin.release, stored.record.release
        )));
        Ok(stored)
    }

    /// The newest that the cache has of a spec.
    fn cached(&self, spec: &Spec) -> Result<Option<Stored>, Error> {
        let mut best: Option<(Stored, String)> = None;
        for stored in self.store().all() {
            let Some(version) = stored.record.version.clone() else { continue };
            if !spec.matches(&stored.record.release, &version) {
                continue;
            }
            let better = match &best {
                Some((_, known)) => debian::compare(&version, known, self.cancel())?.is_gt(),
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
        let store = self.store();
        let waiting = || {
            let text = format!("waiting for another run that downloads {}", pin.release);
            observer.notify(Event::Step(text));
        };
        let work = store.begin(&pin.key(), self.cancel(), waiting)?;
        if let Some(stored) = store.get(&pin.key()) {
            return Ok(stored);
        }
        store.sweep();
        let folder = self.cache.join("apt");
        let apt = Apt::open(&folder, self.mirror()?, self.cancel())?;
        Fetch { apt: &apt, cancel: self.cancel(), observer }.kernel(pin, &work)
    }

    /// What Debian's suites have. An index that is a few hours old will do, unless `afresh`.
    pub(crate) fn index(&self, afresh: bool, observer: &dyn Observer) -> Result<Index, Error> {
        let folder = self.cache.join("apt");
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let waiting =
            || observer.notify(Event::Step("waiting for another run that updates the index".into()));
        let _lock = file_lock::wait(&folder.join("lock"), self.cancel(), waiting)?;
        let file = folder.join("index.json");
        let mirror = self.mirror()?;
        let accept_expired = self.options.accept_expired;
        let sources = mirror.sources(&self.catalog.debian, accept_expired);
        let index = match Index::read_fresh(&file, &sources).filter(|_| !afresh) {
            Some(index) => index,
            None => {
                observer.notify(Event::Step("updating the index of Debian's packages".into()));
                let apt = Apt::open(&folder, mirror, self.cancel())?;
                Index::update(&apt, &self.catalog.debian, accept_expired, sources, &file)?
            }
        };
        // Said once, however many kernels need the index.
        if !self.warned.swap(true, Ordering::Relaxed) {
            for warning in index.warnings(&self.catalog.debian.rolling) {
                observer.notify(Event::Warning(warning));
            }
        }
        Ok(index)
    }

    pub(crate) fn mirror(&self) -> Result<Mirror, Error> {
        let (main, security) = (&self.options.mirror, &self.options.security_mirror);
        Mirror::find(main.as_deref(), security.as_deref(), &self.catalog.debian)
    }

    /// The kernels of an index in the flavours that will do.
    pub(crate) fn offers(&self, index: &Index) -> Vec<Offer> {
        debian::offers(index, &self.catalog.debian.flavours)
    }

    /// Refuses specs of series that nobody knows, without looking anywhere.
    pub(crate) fn check_known(&self, spec: &Spec) -> Result<(), Error> {
        let supported = self.catalog.series.iter().any(|series| Some(series.name) == spec.series());
        if supported || self.all().contains(spec) || self.lock.find(spec).is_some() {
            return Ok(());
        }
        Err(self.unknown(spec))
    }

    /// The error of a spec that names nothing.
    pub(crate) fn unknown(&self, spec: &Spec) -> Error {
        let known = self.all().iter().map(Spec::to_string).collect();
        Error::UnknownSpec { spec: spec.to_string(), known }
    }

    /// Refuses what `locked` and `offline` forbid, of a spec whose pinned kernel is not cached.
    pub(crate) fn check_allowed(&self, spec: &Spec) -> Result<(), Error> {
        if self.options.locked && self.lock.find(spec).is_none() {
            return Err(Error::NotPinned { spec: spec.to_string(), lock: self.lock_path.clone() });
        }
        // Without `locked`, another kernel of the series will do.
        let usable = |stored: Option<Stored>| stored.is_some() && !self.options.locked;
        if self.options.offline && !usable(self.cached(spec)?) {
            return Err(self.not_cached(spec));
        }
        Ok(())
    }

    fn not_cached(&self, spec: &Spec) -> Error {
        let pin = self.lock.find(spec);
        let what = pin.map_or_else(|| "not pinned".to_owned(), |pin| pin.release.clone());
        Error::Offline { spec: spec.to_string(), what, cache: self.cache.clone() }
    }

    fn not_offered(&self, spec: &Spec, offers: &[Offer]) -> Result<Error, Error> {
        Ok(Error::NotOffered { spec: spec.to_string(), available: self.versions(spec, offers)? })
    }

    fn versions(&self, spec: &Spec, offers: &[Offer]) -> Result<Vec<String>, Error> {
        // Of a release that is not there, its series.
        let spec = spec.series().map_or_else(|| spec.clone(), Spec::Series);
        debian::newest_versions(offers, &spec, self.cancel())
    }
}
