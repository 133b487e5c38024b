//! What can go wrong with Debian's archive.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use super::trouble::Trouble;
use crate::host::{FileError, file_lock};

/// Why a package or an index cannot be obtained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The mirror has no file at that place.
    #[error("failed to download {package} {version}: the mirror no longer has it")]
    Gone {
        /// The package.
        package: String,
        /// Its version.
        version: String,
    },
    /// What came is not what was promised.
    #[error(
        "failed to verify {what}: its SHA-256 is not the expected {expected}; the pin or the mirror's copy is wrong"
    )]
    Mismatch {
        /// The package and its version.
        what: String,
        /// SHA-256 in hexadecimal.
        expected: String,
    },
    /// The download did not work.
    #[error("failed to download {what}")]
    Download {
        /// The package and its version.
        what: String,
        /// What apt said.
        #[source]
        trouble: Trouble,
    },
    /// There is no usable index of packages.
    #[error("failed to update the index of Debian's packages")]
    Index(#[source] Trouble),
    /// apt's configuration cannot name this path.
    #[error("failed to set up a private apt: it cannot use the path {}", .0.display())]
    Path(PathBuf),
    /// What should be a mirror's address is none.
    #[error("failed to find a Debian mirror: `{0}` is no URL")]
    NoUrl(String),
    /// The host says nothing about where Debian's packages are.
    #[error("failed to find a Debian mirror: the host's apt sources name none")]
    NoMirror,
    /// The keys that sign Debian's archive are not installed.
    #[error("failed to verify Debian's packages: {} is missing", path.display())]
    NoKeyring {
        /// Where it should be.
        path: PathBuf,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A package cannot be unpacked.
    #[error("failed to unpack {package}")]
    Unpack {
        /// The package's file name.
        package: String,
        /// What dpkg said.
        #[source]
        trouble: Trouble,
    },
    /// A tool of the host could not be run.
    #[error("failed to run {tool}")]
    Tool {
        /// Its name.
        tool: String,
        /// The Debian package that has it.
        package: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A tool of the host failed.
    #[error("failed to run {tool}")]
    ToolFailed {
        /// Its name.
        tool: String,
        /// What it said.
        #[source]
        trouble: Trouble,
    },
    /// The file that pins a package cannot be understood.
    #[error("failed to read {}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// Someone asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl From<file_lock::Error> for Error {
    fn from(error: file_lock::Error) -> Self {
        match error {
            file_lock::Error::File(error) => error.into(),
            file_lock::Error::Cancelled => Error::Cancelled,
        }
    }
}
