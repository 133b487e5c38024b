//! The harness of these tests: a [`TestEnv`] to run the command line in, and what came of a run.

#[cfg(feature = "lab")]
mod cache;
mod environment;
#[cfg(feature = "lab")]
mod host;
mod leftovers;
mod ran;
#[cfg(feature = "lab")]
mod running;
#[cfg(feature = "lab")]
mod wait;

use std::env;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

#[cfg(feature = "lab")]
pub(crate) use self::cache::{locked_kernel, locked_size, test_cache};
pub(crate) use self::environment::TestEnv;
#[cfg(feature = "lab")]
pub(crate) use self::environment::{ONE, misbehaving};
#[cfg(feature = "lab")]
pub(crate) use self::host::behind;
pub(crate) use self::ran::Ran;
#[cfg(feature = "lab")]
pub(crate) use self::ran::{paths, took_its_limit};
#[cfg(feature = "lab")]
pub(crate) use self::wait::{Limit, PROMPTLY, wait_for};

/// The checkout that is tested, which may be another than the one that this was compiled in.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap());
        package.parent().unwrap().to_owned()
    });
    &ROOT
}

/// Cargo's target directory.
#[cfg(feature = "lab")]
pub(crate) fn target() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    std::path::absolute(target).unwrap()
}
