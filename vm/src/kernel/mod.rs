//! Kernels: what a spec means, where it comes from, what is kept of it.
//!
//! A catalog names the series, a lock pins each to Debian packages, the cache keeps what a guest needs of them.
//! [`Kernels`] ties these together.

mod catalog;
mod document;
mod error;
mod image;
mod kernels;
mod lock;
mod parts;
mod selector;
mod source;
mod spec;
mod stored;
#[cfg(test)]
mod tests;
mod types;
mod update;

pub use catalog::{Catalog, Debian, Supported};
pub use document::{CATALOG, Document, PINS};
pub use error::{Error, Obstacle, PackageError};
pub use image::{BtfError, Error as ImageError, FormatError, ModuleError, btf};
pub use kernels::{Kernels, Listing, Pruned};
pub use lock::{Lock, Pin};
pub use selector::{ParseSelectorError, Selector};
pub use spec::{ParseSpecError, Series, Spec};
pub use types::{Kernel, Options, Source};
pub use update::{Change, Standing, Verdict};

pub use crate::debian::{Archive, Package};
