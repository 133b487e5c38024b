//! The payload: everything that the guest runs, in one archive.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hooklab_protocol::{EnvVar, PAYLOAD_MTIME, ROOT_DIRECTORY};

use crate::host::FileError;
use crate::linked::{self, Linked};

/// Why a program could not be added.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its libraries are unknown.
    #[error(transparent)]
    Linked(#[from] linked::Error),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A payload, and where programs in it find their libraries.
#[derive(Debug)]
pub struct Payload {
    /// The tar archive.
    pub archive: Vec<u8>,
    /// The directories of its libraries. A guest's dynamic linker does not look in all of them by itself: the host's has a
    /// cache (ld.so(8)).
    library_path: String,
}

impl Payload {
    /// The variable that tells a guest's dynamic linker where the libraries are.
    pub fn environment(&self) -> EnvVar {
        EnvVar::text("LD_LIBRARY_PATH", &self.library_path)
    }
}

/// An archive in the making.
pub struct Builder {
    archive: tar::Builder<Vec<u8>>,
    /// Dynamic linkers and libraries that are in it already.
    libraries: HashSet<PathBuf>,
}

impl Default for Builder {
    fn default() -> Self {
        Self { archive: tar::Builder::new(Vec::new()), libraries: HashSet::new() }
    }
}

impl Builder {
    /// Adds the file `from` as `name` (relative, with `/`), executable by everybody.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn add(&mut self, name: &str, from: &Path) -> Result<(), FileError> {
        self.add_with_mode(name, from, 0o755)
    }

    /// Adds the file `from` as `name`, with this mode.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn add_with_mode(&mut self, name: &str, from: &Path, mode: u32) -> Result<(), FileError> {
        let content = fs::read(from).map_err(FileError::of("read", from))?;
        let mut header = header(tar::EntryType::Regular, mode);
        header.set_size(content.len() as u64);
        self.archive.append_data(&mut header, name, content.as_slice()).map_err(FileError::of("pack", from))
    }

    /// Adds a directory as `name`; those of files need not be added.
    ///
    /// # Errors
    /// The archive cannot have such a name.
    pub fn add_directory(&mut self, name: &str) -> io::Result<()> {
        let mut header = header(tar::EntryType::Directory, 0o755);
        self.archive.append_data(&mut header, name, io::empty())
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.archive.get_ref().len()
    }

    /// Adds a program as `name`, with its dynamic linker and libraries, which have the same paths in a guest as here.
    ///
    /// # Errors
    /// If it is not a valid program, or a file cannot be read.
    pub fn add_program(&mut self, name: &str, program: &Path) -> Result<(), Error> {
        if let Some(linked) = Linked::of(program)? {
            for file in linked.files() {
                if self.libraries.insert(file.to_owned()) {
                    let place = file.strip_prefix("/").unwrap_or(file);
                    self.add(&format!("{ROOT_DIRECTORY}/{}", place.display()), file)?;
                }
            }
        }
        Ok(self.add(name, program)?)
    }

    /// The finished payload.
    ///
    /// # Errors
    /// Never in practice: the archive is in memory.
    pub fn finish(self) -> io::Result<Payload> {
        let directories = self.libraries.iter().filter_map(|library| library.parent());
        let directories: BTreeSet<String> =
            directories.map(|directory| directory.display().to_string()).collect();
        let library_path = directories.into_iter().collect::<Vec<_>>().join(":");
        Ok(Payload { archive: self.archive.into_inner()?, library_path })
    }
}

fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(mode);
    header.set_mtime(PAYLOAD_MTIME);
    header
}

#[cfg(test)]
mod tests {
    use hooklab_protocol::EnvValue;

    use super::*;

    #[test]
    fn a_dynamic_program_comes_with_its_libraries_once() {
        // The test itself is one.
        let program = std::env::current_exe().unwrap();
        let mut builder = Builder::default();
        builder.add_program("bin/a", &program).unwrap();
        builder.add_program("bin/b", &program).unwrap();
        let payload = builder.finish().unwrap();
        let mut archive = tar::Archive::new(payload.archive.as_slice());
        let entries = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned());
        let names: Vec<String> = entries.map(|path| path.display().to_string()).collect();
        let library = names.iter().find(|name| name.ends_with("/libc.so.6")).unwrap();
        assert_eq!(names.iter().filter(|name| *name == library).count(), 1, "{names:?}");
        let EnvValue::Text(path) = payload.environment().value else { panic!("it is the text of a path") };
        let directory = library.strip_prefix(ROOT_DIRECTORY).unwrap().rsplit_once('/').unwrap().0;
        assert!(path.split(':').any(|part| part == directory), "{path} lacks {directory}");
    }
}
