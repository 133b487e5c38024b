//! Debian's archive: the suites' indexes and single packages, by way of a private apt. Knows nothing of kernels.

mod apt;
mod command;
mod deb;
mod download;
mod error;
mod index;
mod mirror;
mod package;
mod repository;
mod suites;
mod trouble;
mod version;

pub use error::Error;
pub use package::{Archive, DamagedPackage, Package};
pub use suites::Suites;
pub use trouble::Trouble;

pub(crate) use apt::Apt;
#[cfg(test)]
pub(crate) use apt::LeftOut;
pub(crate) use deb::visit;
pub(crate) use index::{Entry, Index, Wanted};
pub(crate) use package::is_word;
pub(crate) use repository::Options;
pub use repository::Repository;
pub(crate) use version::compare;
