//! What can go wrong with kernels.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use super::image::{self, FormatError};
use crate::debian::{self, Trouble};
use crate::host::{FileError, file_lock};

/// Why a kernel cannot be obtained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The spec names a series or release that the lab does not have.
    #[error("failed to find a kernel for `{spec}`: there are {}", known.join(", "))]
    UnknownSpec {
        /// What was asked for.
        spec: String,
        /// The specs that exist.
        known: Vec<String>,
    },
    /// A range or a word that none of the lab's kernels fits.
    #[error("failed to find kernels for `{selector}`: there are {}", known.join(", "))]
    NoneSelected {
        /// What was asked for.
        selector: String,
        /// The versions that there are.
        known: Vec<String>,
    },
    /// A release of a supported series that Debian's suites do not offer (any more).
    #[error(
        "failed to find kernel {spec} in Debian's suites: the newest of its series there are {}",
        list(available)
    )]
    NotOffered {
        /// What was asked for.
        spec: String,
        /// The newest versions of its series that are offered.
        available: Vec<String>,
    },
    /// [`Options::locked`](super::Options::locked), and the lock does not have it.
    #[error("failed to use kernel {spec}: {} does not pin it, and only pinned kernels may be used", lock.display())]
    NotPinned {
        /// What was asked for.
        spec: String,
        /// The lock.
        lock: PathBuf,
    },
    /// [`Options::locked`](super::Options::locked), and the mirror no longer has what the lock pins.
    #[error(
        "failed to get {package} {version}, which the lock pins for {spec}: the mirror no longer has it, and only pinned \
         kernels may be used; the newest there are {}",
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
    /// [`Options::offline`](super::Options::offline), and the cache does not have it.
    #[error(
        "failed to get kernel {spec} ({what}): it is not in the cache at {}, and nothing may be downloaded",
        cache.display()
    )]
    NotCached {
        /// What was asked for.
        spec: String,
        /// The release, or why there is none.
        what: String,
        /// The cache.
        cache: PathBuf,
    },
    /// [`Options::offline`](super::Options::offline), and Debian's suites would have to be asked.
    #[error("failed to update the index of Debian's packages: nothing may be downloaded")]
    NoDownloads,
    /// The packages of a kernel have no image of it.
    #[error("failed to unpack {package}: there is no image of {release} in it")]
    NoImage {
        /// The package.
        package: String,
        /// What `uname -r` should print.
        release: String,
    },
    /// A package file from which no kernel can be taken.
    #[error("failed to take a kernel from the package {}", path.display())]
    Package {
        /// The package.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: PackageError,
    },
    /// The image in a package is another kernel's.
    #[error("failed to unpack {}: its image says that it is {found}, not {expected}", package.display())]
    AnotherRelease {
        /// The package's file.
        package: PathBuf,
        /// What the image says.
        found: String,
        /// What `uname -r` should print.
        expected: String,
    },
    /// The image, its config or its modules cannot be used.
    #[error(transparent)]
    Image(image::Error),
    /// The catalog cannot be understood.
    #[error("failed to read {}", path.display())]
    MalformedCatalog {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The lock cannot be understood.
    #[error("failed to read {}", path.display())]
    MalformedLock {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Debian's archive does not give it.
    #[error(transparent)]
    Debian(debian::Error),
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// Someone asked to stop.
    #[error("interrupted")]
    Cancelled,
}

/// Why no kernel can be taken from a package file.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// It has no image: it is the package of the modules, of debug information, or of something else.
    #[error("it has no kernel image (boot/vmlinuz-RELEASE or lib/modules/RELEASE/vmlinuz)")]
    NoImage,
    /// Nothing tells which modules a guest needs.
    #[error("neither it nor a package of {release} beside it has the config of {release}")]
    NoConfig {
        /// What `uname -r` prints.
        release: String,
    },
    /// A file that no kernel would have.
    #[error("{file} in it is longer than {limit_mib} MiB")]
    TooLong {
        /// Its path in the package.
        file: String,
        /// The limit.
        limit_mib: u64,
    },
}

/// A problem that a user can solve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The lock does not pin what is wanted, or pins what is gone, and [`Options::locked`](super::Options::locked)
    /// forbids another.
    Lock,
    /// The lock is damaged.
    DamagedLock,
    /// [`Options::offline`](super::Options::offline).
    Offline,
    /// The file is the ELF file that an image with this name is made of.
    Elf(&'static str),
    /// The kernel is not built; this command of the kernel's build system does it.
    NotBuilt(&'static str),
    /// Nobody says where Debian's archive is.
    NoMirror,
    /// A Debian package is not installed.
    NotInstalled(&'static str),
    /// There is no room left where the cache is, or no more of it for this user.
    StorageFull,
    /// This user may not write where the cache is.
    PermissionDenied,
    /// Nobody may.
    ReadOnlyFilesystem,
}

impl Error {
    /// The problem, if a user can solve it.
    pub fn obstacle(&self) -> Option<Obstacle> {
        match self {
            Error::NotPinned { .. } | Error::PinGone { .. } => Some(Obstacle::Lock),
            Error::MalformedLock { .. } => Some(Obstacle::DamagedLock),
            Error::NotCached { .. } | Error::NoDownloads => Some(Obstacle::Offline),
            Error::Image(image::Error::NoKernel { source: FormatError::Elf { image }, .. }) => {
                Some(Obstacle::Elf(image))
            }
            Error::Image(image::Error::NoKernel {
                source: FormatError::NotBuilt { command, .. }, ..
            }) => Some(Obstacle::NotBuilt(command)),
            Error::File(error) => of_file(error),
            Error::Debian(error) => of_debian(error),
            _ => None,
        }
    }
}

fn of_debian(error: &debian::Error) -> Option<Obstacle> {
    match error {
        debian::Error::NoMirror | debian::Error::NoUrl(_) => Some(Obstacle::NoMirror),
        debian::Error::NoKeyring { package, .. } => Some(Obstacle::NotInstalled(package)),
        debian::Error::Tool { package, source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Some(Obstacle::NotInstalled(package))
        }
        debian::Error::Download { trouble: Trouble::StorageFull(_), .. } => Some(Obstacle::StorageFull),
        debian::Error::File(error) => of_file(error),
        _ => None,
    }
}

fn of_file(error: &FileError) -> Option<Obstacle> {
    match error.source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Obstacle::StorageFull),
        io::ErrorKind::PermissionDenied => Some(Obstacle::PermissionDenied),
        io::ErrorKind::ReadOnlyFilesystem => Some(Obstacle::ReadOnlyFilesystem),
        _ => None,
    }
}

impl From<image::Error> for Error {
    fn from(error: image::Error) -> Self {
        match error {
            image::Error::File(error) => Error::File(error),
            error => Error::Image(error),
        }
    }
}

impl From<debian::Error> for Error {
    fn from(error: debian::Error) -> Self {
        match error {
            debian::Error::Cancelled => Error::Cancelled,
            debian::Error::File(error) => Error::File(error),
            error => Error::Debian(error),
        }
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

/// Versions in a sentence.
fn list(versions: &[String]) -> String {
    if versions.is_empty() { "none".to_owned() } else { versions.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn messages_stand_alone_and_leave_the_cause_to_the_chain() {
        let full =
            Error::from(FileError::of("write", Path::new("/cache/x"))(io::ErrorKind::StorageFull.into()));
        assert_eq!(full.to_string(), "failed to write /cache/x");
        assert_eq!(
            full.source().unwrap().to_string(),
            io::Error::from(io::ErrorKind::StorageFull).to_string()
        );
        assert_eq!(full.obstacle(), Some(Obstacle::StorageFull));

        let unknown = Error::UnknownSpec { spec: "9.99".into(), known: vec!["5.10".into(), "6.1".into()] };
        assert_eq!(unknown.to_string(), "failed to find a kernel for `9.99`: there are 5.10, 6.1");
        assert_eq!(unknown.obstacle(), None);
    }

    #[test]
    fn what_a_user_can_do_something_about_is_told_apart() {
        let download =
            |trouble| Error::from(debian::Error::Download { what: "x".into(), trouble }).obstacle();
        assert_eq!(download(Trouble::StorageFull("no room".into())), Some(Obstacle::StorageFull));
        assert_eq!(download(Trouble::Other("no network".into())), None);
        let tool = |kind: io::ErrorKind| {
            let (tool, package, source) = ("apt-get".into(), "apt", kind.into());
            Error::from(debian::Error::Tool { tool, package, source }).obstacle()
        };
        assert_eq!(tool(io::ErrorKind::NotFound), Some(Obstacle::NotInstalled("apt")));
        assert_eq!(tool(io::ErrorKind::OutOfMemory), None);
    }
}
