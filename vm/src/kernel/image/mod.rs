//! The parts of a kernel: the image, its config, its modules.

mod btf;
mod bzimage;
mod config;
mod error;
mod module;

use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use btf::{BtfError, btf};
pub(super) use config::{all_modules, needed_modules};
pub use error::{Error, FormatError, ModuleError};
pub(super) use module::{Module, in_load_order, name_of, read};

use crate::arch::{Arch, ImageFormat};
use crate::host::FileError;

/// What `uname -r` will print in a guest with this image; none if the image does not say.
///
/// # Errors
/// The file cannot be read, or is no image for the architecture.
pub(super) fn release(path: &Path, arch: &Arch) -> Result<Option<String>, Error> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(FileError::of("read", path))?;
    file.take(bzimage::HEAD).read_to_end(&mut head).map_err(FileError::of("read", path))?;
    let release = match arch.image {
        ImageFormat::BzImage => bzimage::release(&head),
    };
    release.map_err(|source| Error::NoKernel { path: path.to_owned(), source })
}

/// Whether a text can be a release: it becomes part of the names of directories.
fn is_release(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-~._".contains(c))
}

#[cfg(test)]
pub(super) mod tests {
    pub(in crate::kernel) use super::bzimage::tests::image;
    pub(in crate::kernel) use super::module::tests::module;
}
