//! Moves the lock to the newest kernels that Debian's suites offer, or says what would move.

use std::sync::atomic::AtomicBool;

use super::catalog::Catalog;
use super::error::Error;
use super::lock::{Lock, Pin};
use super::selector::Selector;
use super::source::debian::DebianSource;
use super::source::debian::offer::{self, Offer, Role};
use super::spec::Spec;
use crate::debian::{Index, compare};
use crate::event::{Event, Observer};

/// What became of one entry of the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The spec.
    pub spec: String,
    /// The version that was pinned, if one was.
    pub from: Option<String>,
    /// The version that is pinned now, if one is.
    pub to: Option<String>,
}

/// How one entry of the lock compares with what Debian's suites offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The spec.
    pub spec: String,
    /// The version that is pinned, if one is.
    pub pinned: Option<String>,
    /// The newest version that is offered, if any is.
    pub newest: Option<String>,
    /// What to make of it.
    pub verdict: Verdict,
}

/// What to make of a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the newest.
    Current,
    /// There is a newer one.
    Behind,
    /// The suites no longer have it.
    Gone,
    /// Nothing is pinned, though there is something to pin.
    Missing,
    /// Its suite is left out this time, or nothing is known of it.
    Unknown,
}

impl Verdict {
    /// Whether to renew the lock would help.
    pub fn is_stale(self) -> bool {
        matches!(self, Verdict::Behind | Verdict::Gone | Verdict::Missing)
    }
}

/// What Debian's suites offer now, to compare pins with.
pub(super) struct Update<'a> {
    pub(super) lock: &'a Lock,
    pub(super) cancel: &'a AtomicBool,
    pub(super) index: Index,
    pub(super) offers: Vec<Offer>,
}

impl<'a> Update<'a> {
    /// Asks Debian's suites.
    pub(super) fn new(
        source: &DebianSource<'_>,
        lock: &'a Lock,
        cancel: &'a AtomicBool,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let index = source.index(true, observer)?;
        let offers = source.offers(&index);
        Ok(Self { lock, cancel, index, offers })
    }

    /// Pins each of `all` that is `wanted` to its newest version; says for each of these what became of it. One that is
    /// not offered keeps its pin, with a warning.
    pub(super) fn renew(
        &self,
        all: &[Spec],
        wanted: &[Spec],
        observer: &dyn Observer,
    ) -> Result<(Lock, Vec<Change>), Error> {
        let (mut pins, mut changes) = (Vec::new(), Vec::new());
        for spec in all {
            let old = self.pinned(spec);
            if !wanted.contains(spec) {
                pins.extend(old.cloned());
                continue;
            }
            let new = offer::newest(&self.offers, spec, self.cancel)?.map(|offer| offer.pin(spec));
            let pin = self.choose(spec, old, new, observer)?;
            let version = |pin: &Pin| pin.version.clone();
            changes.push(Change {
                spec: spec.to_string(),
                from: old.map(version),
                to: pin.as_ref().map(version),
            });
            pins.extend(pin);
        }
        Ok((Lock::new(pins), changes))
    }

    /// Says how a pin stands.
    pub(super) fn standing(&self, spec: &Spec) -> Result<Standing, Error> {
        let pin = self.pinned(spec);
        let newest = offer::newest(&self.offers, spec, self.cancel)?.map(|offer| offer.version);
        let verdict = match (pin, &newest) {
            (None, None) => Verdict::Unknown,
            (None, Some(_)) => Verdict::Missing,
            (Some(pin), newest) => {
                // The image is what counts; the rest of a superseded kernel goes before it.
                let mut images = pin.packages.iter().filter(|package| Role::of(package) == Role::Image);
                let offered = images.all(|image| self.index.has(image));
                let newer = match newest {
                    Some(newest) => compare(newest, &pin.version, self.cancel)?.is_gt(),
                    None => false,
                };
                match (newer, offered) {
                    (_, false)
                        if pin.packages.iter().any(|package| self.index.lacks_suite(&package.suite)) =>
                    {
                        if newer {
                            Verdict::Behind
                        } else {
                            Verdict::Unknown
                        }
                    }
                    (_, false) => Verdict::Gone,
                    (true, true) => Verdict::Behind,
                    (false, true) => Verdict::Current,
                }
            }
        };
        Ok(Standing { spec: spec.to_string(), pinned: pin.map(|pin| pin.version.clone()), newest, verdict })
    }

    /// The entry of that very name.
    fn pinned(&self, spec: &Spec) -> Option<&Pin> {
        self.lock.kernels.iter().find(|pin| pin.spec == spec.to_string())
    }

    /// Chooses between the pin of before and the newest offer. A pin never moves back.
    pub(super) fn choose(
        &self,
        spec: &Spec,
        old: Option<&Pin>,
        new: Option<Pin>,
        observer: &dyn Observer,
    ) -> Result<Option<Pin>, Error> {
        let complete = self.index.is_complete();
        let (reason, pin) = match (old, new) {
            (None, None) => ("no suite offers a kernel of it".to_owned(), None),
            (Some(old), None) => {
                let which =
                    if complete { "no suite offers it any more" } else { "no usable suite offers it" };
                (format!("{which}, {} stays", old.version), Some(old.clone()))
            }
            // The newer one may be in a suite that is left out this time; or the mirror serves an index of long ago.
            (Some(old), Some(new)) if compare(&new.version, &old.version, self.cancel)?.is_lt() => {
                let which = if complete { "the suites" } else { "the suites that can be used" };
                let text = format!(
                    "{which} offer only {}, {} stays; remove its entry from the lock to go back",
                    new.version, old.version
                );
                (text, Some(old.clone()))
            }
            (_, new) => return Ok(new),
        };
        observer.notify(Event::Warning(format!("{spec}: {reason}")));
        Ok(pin)
    }
}

/// The kernels of `only`, or all; an unknown one is refused.
pub(super) fn chosen(only: &[Selector], catalog: &Catalog, lock: &Lock) -> Result<Vec<Spec>, Error> {
    let all = catalog.specs();
    if only.is_empty() {
        return Ok(all);
    }
    let chosen = Selector::select_all(only, catalog, lock)?;
    match chosen.iter().find(|spec| !all.contains(spec)) {
        Some(unknown) => Err(catalog.unknown(unknown)),
        None => Ok(chosen),
    }
}
