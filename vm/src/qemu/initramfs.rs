//! The initramfs: the agent as `/init`, the modules that it loads, and the two devices that it needs before it can mount
//! devtmpfs.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cpio::newc::{Builder, ModeFileType, trailer};

use crate::host::FileError;
use crate::linked::{self, Linked};

/// Bits of a mode (`S_IFMT` and permissions, inode(7)).
const EXECUTABLE: u32 = 0o755;
const DEVICE: u32 = 0o600;

/// Why an initramfs could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The agent's libraries are unknown.
    #[error(transparent)]
    Linked(#[from] linked::Error),
    /// The archive cannot be written: a file is too large for the format.
    #[error("failed to write the archive")]
    Archive(#[from] io::Error),
}

/// Makes the archive: an uncompressed cpio in the "newc" format, which every kernel unpacks (kernel documentation,
/// "initramfs buffer format"). The agent loads the modules in the order given.
///
/// # Errors
/// If a file cannot be read.
pub fn make(agent: &Path, modules: &[PathBuf]) -> Result<Vec<u8>, Error> {
    let read = |path: &Path| fs::read(path).map_err(FileError::of("read", path));
    let libraries = Linked::of(agent)?;
    let libraries: Vec<&Path> = libraries.iter().flat_map(Linked::files).collect();
    pack(&read(agent)?, &libraries, modules, read)
}

fn pack(
    agent: &[u8],
    libraries: &[&Path],
    modules: &[PathBuf],
    read: impl Fn(&Path) -> Result<Vec<u8>, FileError>,
) -> Result<Vec<u8>, Error> {
    let mut archive = Vec::new();
    let mut add = |entry: Builder, content: &[u8]| add(&mut archive, entry, content);
    add(directory("dev"), &[])?;
    // Rust's runtime opens /dev/null for a missing standard stream, the kernel /dev/console for all three;
    // numbers from the kernel's documentation, "Linux allocated devices".
    add(device("dev/null", 1, 3), &[])?;
    add(device("dev/console", 5, 1), &[])?;
    add(file("init"), agent)?;
    let mut made = BTreeSet::from(["dev".to_owned()]);
    for library in libraries {
        // The kernel does not create missing directories.
        for parent in ancestors(library) {
            if made.insert(parent.clone()) {
                add(directory(&parent), &[])?;
            }
        }
        add(file(&relative(library)), &read(library)?)?;
    }
    if !modules.is_empty() {
        add(directory("modules"), &[])?;
    }
    for (position, module) in modules.iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        add(file(&format!("modules/{position:02}-{name}")), &read(module)?)?;
    }
    trailer(&mut archive)?;
    Ok(archive)
}

fn relative(path: &Path) -> String {
    path.strip_prefix("/").unwrap_or(path).display().to_string()
}

/// The directories above a file, the outermost first.
fn ancestors(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        path.ancestors().skip(1).map(relative).filter(|name| !name.is_empty()).collect();
    names.reverse();
    names
}

fn add(archive: &mut Vec<u8>, entry: Builder, content: &[u8]) -> io::Result<()> {
    let size = u32::try_from(content.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut writer = entry.write(archive, size);
    writer.write_all(content)?;
    writer.finish()?;
    Ok(())
}

fn directory(name: &str) -> Builder {
    Builder::new(name).mode(EXECUTABLE).set_mode_file_type(ModeFileType::Directory)
}

fn file(name: &str) -> Builder {
    Builder::new(name).mode(EXECUTABLE).set_mode_file_type(ModeFileType::Regular)
}

fn device(name: &str, major: u32, minor: u32) -> Builder {
    let entry = Builder::new(name).mode(DEVICE).rdev_major(major).rdev_minor(minor);
    entry.set_mode_file_type(ModeFileType::Char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_has_what_the_agent_needs_in_order() {
        let modules = [PathBuf::from("/cache/b.ko"), PathBuf::from("/cache/a.ko")];
        let read = |path: &Path| Ok(path.display().to_string().into_bytes());
        let archive = pack(b"agent", &[Path::new("/lib64/ld.so")], &modules, read).unwrap();
        let mut names = Vec::new();
        let mut rest = archive.as_slice();
        loop {
            let mut reader = cpio::NewcReader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let (name, mode, minor) =
                (reader.entry().name().to_owned(), reader.entry().mode(), reader.entry().rdev_minor());
            let mut content = String::new();
            io::Read::read_to_string(&mut reader, &mut content).unwrap();
            names.push(format!("{name} {mode:o} {minor} {content}"));
            rest = reader.finish().unwrap();
        }
        assert_eq!(
            names,
            [
                "dev 40755 0 ",
                "dev/null 20600 3 ",
                "dev/console 20600 1 ",
                "init 100755 0 agent",
                "lib64 40755 0 ",
                "lib64/ld.so 100755 0 /lib64/ld.so",
                "modules 40755 0 ",
                "modules/00-b.ko 100755 0 /cache/b.ko",
                "modules/01-a.ko 100755 0 /cache/a.ko",
            ]
        );
    }
}
