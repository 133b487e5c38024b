//! Moves `kernels.lock` to the newest kernels that Debian's suites offer.

use super::Kernels;
use super::debian;
use super::error::Error;
use super::lock::{Lock, Pin};
use super::spec::Spec;
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

impl Change {
    /// Whether the version is another one.
    pub fn is_change(&self) -> bool {
        self.from != self.to
    }
}

impl Kernels {
    /// Pins each series of `kernels.toml` to its newest kernel and writes `kernels.lock`. Says for each series, in the
    /// file's order, what became of it. A series that is not offered keeps its pin, with a warning.
    ///
    /// # Errors
    /// No index can be had, or the lock cannot be written.
    pub fn lock(&mut self, observer: &dyn Observer) -> Result<Vec<Change>, Error> {
        if self.options.offline {
            return Err(Error::Index { reason: "--offline forbids it".into() });
        }
        let index = self.index(true, observer)?;
        let offers = self.offers(&index);
        let (mut pins, mut changes) = (Vec::new(), Vec::new());
        for spec in self.all() {
            let old = self.lock.kernels.iter().find(|pin| pin.spec == spec.to_string());
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

    /// Chooses between the pin of before and the newest offer.
    fn choose(
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
                (format!("no suite offers a kernel of it any more, {} stays", old.version), Some(old.clone()))
            }
            // The newer one may be in a suite that is left out this time.
            (Some(old), Some(new))
                if !complete && debian::compare(&new.version, &old.version, self.cancel())?.is_lt() =>
            {
                let text =
                    format!("the suites that can be used offer only {}, {} stays", new.version, old.version);
                (text, Some(old.clone()))
            }
            (_, new) => return Ok(new),
        };
        observer.notify(Event::Warning(format!("series {spec}: {reason}")));
        Ok(pin)
    }
}
