//! File operations whose errors name the file, and files that are written as a whole.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// An operation on a file or directory that the system refused.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {}", path.display())]
pub struct FileError {
    /// A verb, such as `write`.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// Makes the error of an operation, for `map_err`.
    pub fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }
}

/// Writes `content` to `path` atomically, and creates its directory if necessary: a reader sees all of it or the previous
/// content, also after a crash of the host. Follows links, and writes to devices and pipes.
///
/// # Errors
/// If the directory cannot be made or the file cannot be written.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<(), FileError> {
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return fs::write(path, content).map_err(FileError::of("write", path));
    }
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(FileError::of("create", directory))?;
    // Write another file, sync it, rename it.
    let write = || -> io::Result<()> {
        let mut aside = tempfile::Builder::new();
        let mut file = aside.permissions(Permissions::from_mode(0o644)).tempfile_in(directory)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(&target)?;
        Ok(())
    };
    write().map_err(FileError::of("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_followed_and_nothing_else_is_left_in_the_directory() {
        let root = tempfile::tempdir().unwrap();
        let (file, link) = (root.path().join("made/file"), root.path().join("link"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_whole(&file, b"one").unwrap();
        write_whole(&link, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert!(link.is_symlink());
        assert_eq!(fs::read_dir(root.path().join("made")).unwrap().count(), 1);
    }

    #[test]
    fn a_refusal_names_the_file_and_has_a_cause() {
        let error = write_whole(Path::new("/dev/null/x"), b"").unwrap_err();
        assert_eq!(error.to_string(), "failed to create /dev/null");
        assert!(std::error::Error::source(&error).is_some());
    }
}
