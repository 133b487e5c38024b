//! Moves `kernels.lock` to the newest kernels that Debian's suites offer, or says what would move.

use super::Kernels;
use super::error::Error;
use super::lock::{Lock, Pin, Role};
use super::selector::Selector;
use super::source::debian::offer::{self as debian, Offer};
use super::spec::Spec;
use crate::debian::index::Index;
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
    /// Whether `kernels lock` would help.
    pub fn is_stale(self) -> bool {
        matches!(self, Verdict::Behind | Verdict::Gone | Verdict::Missing)
    }
}

impl Kernels {
    /// Pins each kernel of [`Kernels::all`], or `only` some of them, to its newest version and writes `kernels.lock`.
    /// Says for each, in that order, what became of it. One that is not offered keeps its pin, with a warning.
    ///
    /// # Errors
    /// `only` has an unknown one; no index can be had; the lock cannot be written.
    pub fn lock(&mut self, only: &[Selector], observer: &dyn Observer) -> Result<Vec<Change>, Error> {
        let wanted = self.chosen(only)?;
        let (index, offers) = self.fresh_offers(observer)?;
        let (mut pins, mut changes) = (Vec::new(), Vec::new());
        for spec in self.all() {
            let old = self.pinned(&spec);
            if !wanted.contains(&spec) {
                pins.extend(old.cloned());
                continue;
            }
            let new = debian::newest(&offers, &spec, self.cancel())?.map(|offer| offer.pin(&spec));
            let pin = self.choose(&spec, old, new, index.is_complete(), observer)?;
            let version = |pin: &Pin| pin.version.clone();
            changes.push(Change {
                spec: spec.to_string(),
                from: old.map(version),
                to: pin.as_ref().map(version),
            });
            pins.extend(pin);
        }
        self.lock = Lock::new(pins);
        self.lock.write(&self.lock_path)?;
        Ok(changes)
    }

    /// Says of each kernel of [`Kernels::all`], or of `only` some of them, how its pin stands. Writes no lock.
    ///
    /// # Errors
    /// `only` has an unknown one; no index can be had.
    pub fn check(&self, only: &[Selector], observer: &dyn Observer) -> Result<Vec<Standing>, Error> {
        let wanted = self.chosen(only)?;
        let (index, offers) = self.fresh_offers(observer)?;
        wanted.iter().map(|spec| self.standing(spec, &index, &offers)).collect()
    }

    pub(crate) fn standing(&self, spec: &Spec, index: &Index, offers: &[Offer]) -> Result<Standing, Error> {
        let pin = self.pinned(spec);
        let newest = debian::newest(offers, spec, self.cancel())?.map(|offer| offer.version);
        let verdict = match (pin, &newest) {
            (None, None) => Verdict::Unknown,
            (None, Some(_)) => Verdict::Missing,
            (Some(pin), newest) => {
                // The image is what counts; the rest of a superseded kernel goes before it.
                let mut images = pin.packages.iter().filter(|package| package.role() == Role::Image);
                let offered = images.all(|image| index.has(image));
                let newer = match newest {
                    Some(newest) => debian::compare(newest, &pin.version, self.cancel())?.is_gt(),
                    None => false,
                };
                match (newer, offered) {
                    (_, false) if pin.packages.iter().any(|package| index.lacks_suite(&package.suite)) => {
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

    /// The kernels of `only`, or all; an unknown one is refused.
    fn chosen(&self, only: &[Selector]) -> Result<Vec<Spec>, Error> {
        let all = self.all();
        if only.is_empty() {
            return Ok(all);
        }
        let chosen = self.select_all(only)?;
        match chosen.iter().find(|spec| !all.contains(spec)) {
            Some(unknown) => Err(self.unknown(unknown)),
            None => Ok(chosen),
        }
    }

    fn fresh_offers(&self, observer: &dyn Observer) -> Result<(Index, Vec<Offer>), Error> {
        if self.options.offline {
            return Err(Error::Index { reason: "--offline forbids it".into() });
        }
        let index = self.index(true, observer)?;
        let offers = self.offers(&index);
        Ok((index, offers))
    }

    /// The entry of that very name.
    fn pinned(&self, spec: &Spec) -> Option<&Pin> {
        self.lock.kernels.iter().find(|pin| pin.spec == spec.to_string())
    }

    /// Chooses between the pin of before and the newest offer. A pin never moves back.
    pub(crate) fn choose(
        &self,
        spec: &Spec,
        old: Option<&Pin>,
        new: Option<Pin>,
        complete: bool,
        observer: &dyn Observer,
    ) -> Result<Option<Pin>, Error> {
        let (reason, pin) = match (old, new) {
            (None, None) => ("no suite offers a kernel of it".to_owned(), None),
            (Some(old), None) => {
                let which =
                    if complete { "no suite offers it any more" } else { "no usable suite offers it" };
                (format!("{which}, {} stays", old.version), Some(old.clone()))
            }
            // The newer one may be in a suite that is left out this time; or the mirror serves an index of long ago.
            (Some(old), Some(new)) if debian::compare(&new.version, &old.version, self.cancel())?.is_lt() => {
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
