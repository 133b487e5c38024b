//! The payload: all that the guest runs, in one archive.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hooklab_protocol::{PAYLOAD_MTIME, ROOT_DIRECTORY};

use crate::linked::{self, Linked};

/// Why a program could not be added.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What it is linked to is not known.
    #[error(transparent)]
    Linked(#[from] linked::Error),
    /// A file cannot be read.
    #[error("cannot add a file to the payload")]
    File(#[from] io::Error),
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
    /// If the file cannot be read; the error names it.
    pub fn add(&mut self, name: &str, from: &Path) -> io::Result<()> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", from.display()));
        let content = fs::read(from).map_err(named)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(PAYLOAD_MTIME);
        self.archive.append_data(&mut header, name, content.as_slice())
    }

    /// Adds a program as `name`, and what it is linked to: that will be at the same paths in a guest as here.
    ///
    /// # Errors
    /// If it is no sound program, or a file cannot be read.
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

    /// The archive.
    ///
    /// # Errors
    /// None that the outside can cause; the archive is in memory.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        self.archive.into_inner()
    }
}
