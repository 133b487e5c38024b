//! `kernels.lock`: for each spec the exact packages, so that all machines test the same kernels.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::document::Document;
use super::error::Error;
use super::spec::Spec;
use crate::debian::{DamagedPackage, Package, is_word};
use crate::host::{digest, write_whole};

/// The schema of the file; another one is refused.
const SCHEMA: u32 = 1;

const HEADER: &str = "\
# The kernels of kernels.toml, pinned. Generated; do not edit by hand.
# Paths are below the mirror of the named archive; sizes are in bytes.

";

/// The content of `kernels.lock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    schema: u32,
    /// The pinned kernels, in the order of `kernels.toml`.
    #[serde(default, rename = "kernel")]
    pub kernels: Vec<Pin>,
}

/// One pinned kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// What the user writes to get it.
    pub spec: String,
    /// What `uname -r` prints.
    pub release: String,
    /// Debian's version of the kernel, such as `6.12.117-1`.
    pub version: String,
    /// What makes it up.
    #[serde(rename = "package")]
    pub packages: Vec<Package>,
}

impl Pin {
    /// The name of the kernel's directory in the cache: its release and 12 digits that stand for its packages' hashes.
    pub fn key(&self) -> String {
        let digest = digest::sha256(self.packages.iter().map(|package| &package.sha256));
        format!("{}-{}", self.release, digest::hex(&digest[..6]))
    }

    /// Bytes to download at most.
    pub fn download_size(&self) -> u64 {
        self.packages.iter().map(|package| package.size).sum()
    }

    /// What a hand-edited or damaged lock could get wrong and no later step would notice.
    fn check(&self) -> Result<(), Damage> {
        // The release names directories.
        if self.spec.parse::<Spec>().is_err() || !is_word(&self.release) || self.packages.is_empty() {
            return Err(Damage::Entry(self.spec.clone()));
        }
        let damaged = |package| Damage::Package { entry: self.spec.clone(), package };
        self.packages.iter().try_for_each(Package::check).map_err(damaged)
    }
}

/// What can be wrong with a lock.
#[derive(Debug, thiserror::Error)]
enum Damage {
    #[error("its schema is {0}, not {SCHEMA}")]
    Schema(u32),
    #[error("the entry `{0}` is damaged")]
    Entry(String),
    #[error("the entry `{entry}` is damaged")]
    Package {
        entry: String,
        #[source]
        package: DamagedPackage,
    },
}

impl Lock {
    /// A lock of these kernels.
    pub fn new(kernels: Vec<Pin>) -> Self {
        Lock { schema: SCHEMA, kernels }
    }

    /// Reads a lock; one that is not there is empty.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn read(document: &Document) -> Result<Self, Error> {
        let path = document.path();
        let Some(text) = document.read()? else { return Ok(Lock::new(Vec::new())) };
        let malformed = |source| Error::MalformedLock { path: path.to_owned(), source };
        let lock: Lock = toml::from_str(&text).map_err(|error| malformed(error.into()))?;
        lock.check().map_err(|damage| malformed(damage.into()))?;
        Ok(lock)
    }

    fn check(&self) -> Result<(), Damage> {
        if self.schema != SCHEMA {
            return Err(Damage::Schema(self.schema));
        }
        self.kernels.iter().try_for_each(Pin::check)
    }

    /// Writes the lock, all or nothing.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let body = toml::to_string(self)
            .map_err(|error| Error::MalformedLock { path: path.to_owned(), source: error.into() })?;
        Ok(write_whole(path, [HEADER, &body].concat().as_bytes())?)
    }

    /// The pin that serves a spec.
    pub fn find(&self, spec: &Spec) -> Option<&Pin> {
        let text = spec.to_string();
        let by_name = self.kernels.iter().find(|pin| pin.spec == text);
        // Of releases, a pinned one is the same kernel under another name; a series is only what its own entry says.
        by_name.or_else(|| match spec {
            Spec::Release(_) => self.kernels.iter().find(|pin| spec.matches(&pin.release, &pin.version)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::Archive;

    fn sample() -> Lock {
        let package = Package {
            name: "linux-image-6.12.117+deb13-cloud-amd64".into(),
            version: "6.12.117-1".into(),
            archive: Archive::Security,
            suite: "trixie-security".into(),
            path: "pool/updates/main/l/linux/linux-image-6.12.117+deb13-cloud-amd64_6.12.117-1_amd64.deb"
                .into(),
            size: 34_671_208,
            sha256: "e9".repeat(32),
        };
        Lock::new(vec![Pin {
            spec: "6.12".into(),
            release: "6.12.117+deb13-cloud-amd64".into(),
            version: "6.12.117-1".into(),
            packages: vec![package],
        }])
    }

    fn round_trip(lock: &Lock) -> Result<Lock, Error> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kernels.lock");
        lock.write(&path).unwrap();
        Lock::read(&Document::File(path))
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(round_trip(&sample()).unwrap(), sample());
        assert_eq!(round_trip(&Lock::new(Vec::new())).unwrap(), Lock::new(Vec::new()));
    }

    #[test]
    fn no_lock_is_an_empty_lock() {
        assert!(Lock::read(&Document::File("/nonexistent/kernels.lock".into())).unwrap().kernels.is_empty());
    }

    #[test]
    fn damage_is_refused() {
        let damages: [fn(&mut Pin); 7] = [
            |pin| pin.release = "../../etc".into(),
            |pin| pin.packages[0].path = "pool/../../secret".into(),
            |pin| pin.packages[0].path = "http://elsewhere/x.deb".into(),
            |pin| pin.packages[0].sha256 = "e9".into(),
            |pin| pin.packages[0].sha256 = "no".repeat(32),
            |pin| pin.packages.clear(),
            |pin| pin.spec = "no kernel!".into(),
        ];
        for (index, damage) in damages.into_iter().enumerate() {
            let mut lock = sample();
            damage(&mut lock.kernels[0]);
            assert!(round_trip(&lock).is_err(), "damage {index} went unnoticed");
        }
        let mut lock = sample();
        lock.schema = 2;
        let error = round_trip(&lock).unwrap_err();
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "its schema is 2, not 1");
    }

    #[test]
    fn a_pin_is_found_by_series_and_by_release() {
        let lock = sample();
        let found = |spec: &str| lock.find(&spec.parse().unwrap()).is_some();
        assert!(found("6.12") && found("6.12.117") && found("6.12.117+deb13-cloud-amd64"));
        assert!(!found("6.1") && !found("6.12.11"));
    }

    #[test]
    fn the_key_changes_with_the_packages() {
        let lock = sample();
        let mut other = lock.kernels[0].clone();
        other.packages[0].sha256 = "ea".repeat(32);
        assert_ne!(lock.kernels[0].key(), other.key());
        assert!(other.key().starts_with("6.12.117+deb13-cloud-amd64-"));
    }
}
