//! Files that are whole or not there: written aside, synced, renamed; and what tells one boot of the host from another.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Writes `content` to `path`, whose folder is made if need be; a reader sees all of it or what was there before.
///
/// # Errors
/// If the folder cannot be made or the file cannot be written.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Differs from boot to boot of the host (random(4)).
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
