//! Debian's archive: a private apt, the indexes, the mirror, packages.

pub(crate) mod apt;
pub(crate) mod command;
pub(crate) mod deb;
pub(crate) mod download;
pub(crate) mod index;
pub(crate) mod mirror;
pub(crate) mod package;
