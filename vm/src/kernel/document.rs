//! Where a catalog or a lock is read from: a file, or text that somebody else has read already.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::Error;
use crate::host::FileError;

/// The catalog that comes with this library: Debian's kernels.
pub const CATALOG: &str = include_str!("../../kernels.toml");

/// The pins that come with this library, of the kernels in [`CATALOG`].
pub const PINS: &str = include_str!("../../kernels.lock");

/// A catalog or a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// The content of this file.
    File(PathBuf),
    /// This text.
    Text {
        /// The file that it was taken from or stands for: named in errors, and where a changed lock is written.
        path: PathBuf,
        /// Its content, as TOML.
        text: String,
    },
}

impl Document {
    /// The file that it is, or stands for.
    pub fn path(&self) -> &Path {
        match self {
            Document::File(path) | Document::Text { path, .. } => path,
        }
    }

    /// Its content; nothing if there is no such file.
    pub(super) fn read(&self) -> Result<Option<String>, Error> {
        match self {
            Document::Text { text, .. } => Ok(Some(text.clone())),
            Document::File(path) => match fs::read_to_string(path) {
                Ok(text) => Ok(Some(text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(FileError::of("read", path)(error).into()),
            },
        }
    }
}
