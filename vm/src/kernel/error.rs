//! What can go wrong with kernels. Each message reads well after "failed to".

use std::io;
use std::path::{Path, PathBuf};

use crate::host::{FileError, file_lock};

/// Why a kernel cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The spec names a series or release that the lab does not have.
    #[error("find a kernel for `{spec}`: there are {}", known.join(", "))]
    UnknownSpec {
        /// What was asked for.
        spec: String,
        /// The specs that exist.
        known: Vec<String>,
    },
    /// A range or a word that none of the lab's kernels fits.
    #[error("find kernels for `{selector}`: there are {}", known.join(", "))]
    NoneSelected {
        /// What was asked for.
        selector: String,
        /// The versions that there are.
        known: Vec<String>,
    },
    /// A release of a supported series that Debian's suites do not offer (any more).
    #[error("find kernel {spec} in Debian's suites: the newest of its series there are {}", list(available))]
    NotOffered {
        /// What was asked for.
        spec: String,
        /// The newest versions of its series that are offered.
        available: Vec<String>,
    },
    /// `--locked`, and the lock does not have it.
    #[error(
        "use kernel {spec}: {} does not pin it and --locked forbids another; run `cargo xtask kernels lock`",
        lock.display()
    )]
    NotPinned {
        /// What was asked for.
        spec: String,
        /// The lock.
        lock: PathBuf,
    },
    /// `--locked`, and the mirror no longer has what the lock pins.
    #[error(
        "get {package} {version}, which the lock pins for {spec}: the mirror no longer has it, and --locked forbids \
         another; the newest there are {}; run `cargo xtask kernels lock`",
        list(available)
    )]
    PinGone {
        /// What was asked for.
        spec: String,
        /// The package that is missing.
        package: String,
        /// Its version.
        version: String,
        /// The newest versions of its series that are offered now.
        available: Vec<String>,
    },
    /// `--offline`, and the cache does not have it.
    #[error(
        "get kernel {spec} ({what}): it is not in the cache at {} and --offline forbids to download it",
        cache.display()
    )]
    Offline {
        /// What was asked for.
        spec: String,
        /// The release, or why there is none.
        what: String,
        /// The cache.
        cache: PathBuf,
    },
    /// The mirror has no file at that place.
    #[error("download {package} {version}: the mirror no longer has it")]
    Gone {
        /// The package.
        package: String,
        /// Its version.
        version: String,
    },
    /// What came is not what the lock or the index promised.
    #[error(
        "verify {what}: its SHA-256 is not the expected {expected}; the lock or the mirror's copy is wrong"
    )]
    Mismatch {
        /// The package and its version.
        what: String,
        /// SHA-256 in hexadecimal.
        expected: String,
    },
    /// The download did not work.
    #[error("download {what}: {reason}{}", download_hint(reason))]
    Download {
        /// The package and its version.
        what: String,
        /// What apt said.
        reason: String,
    },
    /// No index of packages could be had.
    #[error("update the index of Debian's packages: {reason}")]
    Index {
        /// What apt said.
        reason: String,
    },
    /// The host says nothing about where Debian's packages are.
    #[error("find a Debian mirror: {reason}; pass --mirror URL or set HOOKLAB_MIRROR")]
    NoMirror {
        /// Why.
        reason: String,
    },
    /// The keys that sign Debian's archive are not installed.
    #[error("verify Debian's packages: {} is missing; install the package debian-archive-keyring", path.display())]
    NoKeyring {
        /// Where it should be.
        path: PathBuf,
    },
    /// A package does not hold what a kernel package holds.
    #[error("unpack {package}: {reason}")]
    Package {
        /// The package's file name.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// A tool of the host could not be run.
    #[error("run {tool}: {source}{}", install(source, package))]
    Tool {
        /// Its name.
        tool: String,
        /// The Debian package that has it.
        package: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A tool of the host failed.
    #[error("run {tool}: {reason}")]
    ToolFailed {
        /// Its name.
        tool: String,
        /// What it said.
        reason: String,
    },
    /// The file is no kernel, or none that QEMU can boot.
    #[error("use {} as a kernel: it is no kernel ({reason})", path.display())]
    NoKernel {
        /// The file or folder.
        path: PathBuf,
        /// What gave it away.
        reason: String,
    },
    /// The kernel is configured without something that the lab needs.
    #[error("use kernel {kernel}: it is configured without {option}, which the lab needs")]
    NotConfigured {
        /// The release or path.
        kernel: String,
        /// The option, with `CONFIG_`.
        option: &'static str,
    },
    /// A module that the guest needs is nowhere.
    #[error("find module {module} for kernel {kernel}: {reason}")]
    NoModule {
        /// The module, with underscores.
        module: String,
        /// The release or path.
        kernel: String,
        /// Where it was looked for.
        reason: String,
    },
    /// A module's file cannot be read as one.
    #[error("read the module {name}: {reason}")]
    Module {
        /// The module or its file.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// `kernels.toml` or `kernels.lock` cannot be understood.
    #[error("read {}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and what.
        reason: String,
    },
    /// The file system refused.
    #[error("{action} {}: {source}{}", path.display(), hint(source))]
    Io {
        /// A verb, such as `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Someone asked to stop.
    #[error("finish: interrupted")]
    Cancelled,
}

impl From<FileError> for Error {
    fn from(FileError { action, path, source }: FileError) -> Self {
        Error::Io { action, path, source }
    }
}

impl From<file_lock::Error> for Error {
    fn from(error: file_lock::Error) -> Self {
        match error {
            file_lock::Error::File(error) => error.into(),
            file_lock::Error::Cancelled => Error::Cancelled,
        }
    }
}

impl Error {
    /// Makes the error of a file operation, for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }
}

/// What to do about a folder, nearly always of the cache, that cannot be written.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room, or set HOOKLAB_CACHE to another folder"
        }
        io::ErrorKind::PermissionDenied => "; it may be another user's: set HOOKLAB_CACHE to one of yours",
        io::ErrorKind::ReadOnlyFilesystem => "; set HOOKLAB_CACHE to another folder",
        _ => "",
    }
}

/// What to do about what apt said, in the C library's words.
fn download_hint(reason: &str) -> &'static str {
    let full = reason.contains("No space left on device") || reason.contains("Disk quota exceeded");
    if full { hint(&io::ErrorKind::StorageFull.into()) } else { "" }
}

/// What to do about a tool that is not there.
fn install(error: &io::Error, package: &str) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("; install the package {package}"),
        _ => String::new(),
    }
}

/// Versions in a sentence.
fn list(versions: &[String]) -> String {
    if versions.is_empty() { "none".to_owned() } else { versions.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do() {
        let full = Error::io("write", Path::new("/cache/x"))(io::ErrorKind::StorageFull.into());
        assert!(full.to_string().starts_with("write /cache/x: "), "{full}");
        assert!(full.to_string().contains("make room"), "{full}");

        let unknown = Error::UnknownSpec { spec: "9.99".into(), known: vec!["5.10".into(), "6.1".into()] };
        assert_eq!(unknown.to_string(), "find a kernel for `9.99`: there are 5.10, 6.1");
    }
}
