//! What kernels are asked for with, and what comes of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How kernels are obtained.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The URL of Debian's main archive; without, that of the host's own apt sources.
    pub mirror: Option<String>,
    /// The URL of Debian's security archive; without, the mirror's with `-security` appended.
    pub security_mirror: Option<String>,
    /// Take what the lock pins or nothing.
    pub locked: bool,
    /// Take what the cache has or nothing.
    pub offline: bool,
    /// Believe the rolling suites' indexes also after they have expired; their signatures are checked all the same.
    pub accept_expired: bool,
    /// Set it from anywhere to stop; the call in progress ends soon with [`Error::Cancelled`](super::Error::Cancelled).
    pub cancel: Arc<AtomicBool>,
}

/// A kernel that can be used now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// What the user wrote.
    pub spec: String,
    /// What `uname -r` prints in the guest; `unknown` for an image that does not say.
    pub release: String,
    /// Debian's version, such as `6.12.117-1`, if it comes from there.
    pub version: Option<String>,
    /// What to boot.
    pub source: Source,
    /// Changes with the image and the modules: fit to be a part of cache keys.
    pub id: String,
}

/// What to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An image.
    Image {
        /// The bzImage.
        image: PathBuf,
        /// Its config, if there is one.
        config: Option<PathBuf>,
        /// The modules that a guest needs for its virtio-serial port: plain `.ko`, to be loaded in this order.
        modules: Vec<PathBuf>,
    },
    /// Nothing: the running kernel.
    Host,
}
