//! The payload: all that the guest runs, in one archive.

use std::fs;
use std::io;
use std::path::Path;

use hooklab_protocol::PAYLOAD_MTIME;

/// An archive in the making.
pub struct Builder {
    archive: tar::Builder<Vec<u8>>,
}

impl Default for Builder {
    fn default() -> Self {
        Self { archive: tar::Builder::new(Vec::new()) }
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

    /// The archive.
    ///
    /// # Errors
    /// None that the outside can cause; the archive is in memory.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        self.archive.into_inner()
    }
}
