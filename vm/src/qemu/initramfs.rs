//! The initramfs: the agent as `/init`, the modules it loads, and the two devices it needs before it can mount any.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cpio::newc::{Builder, ModeFileType, trailer};

use crate::linked::{self, Linked};

/// Bits of a mode (`S_IFMT` and permissions, inode(7)).
const EXECUTABLE: u32 = 0o755;
const DEVICE: u32 = 0o600;

/// Why an initramfs could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read, or is too large.
    #[error("make the initramfs: {what}: {source}")]
    File {
        /// The file.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// What the agent is linked to is not known.
    #[error("make the initramfs: {0}")]
    Agent(#[from] linked::Error),
}

/// The archive: an uncompressed cpio in the "newc" format, which every kernel takes (kernel documentation,
/// "initramfs buffer format"). The modules are loaded in the order given.
///
/// # Errors
/// If a file cannot be read.
pub fn make(agent: &Path, modules: &[PathBuf]) -> Result<Vec<u8>, Error> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| Error::File { what: path.display().to_string(), source })
    };
    let mut archive = Vec::new();
    let libraries = Linked::of(agent)?;
    let libraries: Vec<&Path> = libraries.iter().flat_map(Linked::files).collect();
    compose(&mut archive, &read(agent)?, &libraries, modules, read)?;
    Ok(archive)
}

fn compose(
    archive: &mut Vec<u8>,
    agent: &[u8],
    libraries: &[&Path],
    modules: &[PathBuf],
    read: impl Fn(&Path) -> Result<Vec<u8>, Error>,
) -> Result<(), Error> {
    let internal = |source| Error::File { what: "in memory".into(), source };
    add(archive, directory("dev"), &[]).map_err(internal)?;
    // Rust's runtime opens /dev/null for a missing standard stream, the kernel /dev/console for all three;
    // numbers from the kernel's documentation, "Linux allocated devices".
    add(archive, device("dev/null", 1, 3), &[]).map_err(internal)?;
    add(archive, device("dev/console", 5, 1), &[]).map_err(internal)?;
    add(archive, file("init"), agent).map_err(internal)?;
    let mut made = BTreeSet::from(["dev".to_owned()]);
    for library in libraries {
        // The kernel makes no directory by itself.
        for parent in ancestors(library) {
            if made.insert(parent.clone()) {
                add(archive, directory(&parent), &[]).map_err(internal)?;
            }
        }
        add(archive, file(&relative(library)), &read(library)?).map_err(internal)?;
    }
    if !modules.is_empty() {
        add(archive, directory("modules"), &[]).map_err(internal)?;
    }
    for (position, module) in modules.iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        add(archive, file(&format!("modules/{position:02}-{name}")), &read(module)?).map_err(internal)?;
    }
    trailer(archive).map_err(internal)?;
    Ok(())
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
    fn holds_what_the_agent_needs_in_order() {
        let mut archive = Vec::new();
        let modules = [PathBuf::from("/cache/b.ko"), PathBuf::from("/cache/a.ko")];
        compose(&mut archive, b"agent", &[Path::new("/lib64/ld.so")], &modules, |path| {
            Ok(path.display().to_string().into_bytes())
        })
        .unwrap();
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
