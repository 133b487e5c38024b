//! Single packages, pinned.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::Error;
use crate::host::FileError;

/// One of Debian's two archives; each has its own place on the net.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Archive {
    /// Releases, backports, testing, unstable.
    Main,
    /// Security updates of releases.
    Security,
}

/// One Debian package, as the signed index described it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The archive that has it.
    pub archive: Archive,
    /// The suite that offered it.
    pub suite: String,
    /// Where it is below the archive's mirror: `pool/...`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// In lower-case hexadecimal.
    pub sha256: String,
}

/// An entry of that name that says what no index says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the package `{0}` is damaged")]
pub struct DamagedPackage(pub String);

impl Package {
    /// Reads a file in TOML that pins one package, in the form of an entry of `kernels.lock`.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(FileError::of("read", path))?;
        let malformed = |source| Error::Malformed { path: path.to_owned(), source };
        let package: Package = toml::from_str(&text).map_err(|error| malformed(error.into()))?;
        package.check().map_err(|error| malformed(error.into()))?;
        Ok(package)
    }

    /// What it is called in messages.
    pub fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// What a hand-edited or damaged file could get wrong and no later step would notice.
    pub(crate) fn check(&self) -> Result<(), DamagedPackage> {
        // The name becomes a file's, the path is joined to a URL.
        let sound = is_word(&self.name)
            && self.path.starts_with("pool/")
            && self.path.split('/').all(is_word)
            && self.sha256.len() == 64
            && self.sha256.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        if sound { Ok(()) } else { Err(DamagedPackage(self.name.clone())) }
    }
}

/// Whether a text can be a part of a path without leading anywhere else.
pub(crate) fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-~._".contains(c))
}
