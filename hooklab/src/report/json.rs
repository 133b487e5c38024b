//! The JSON report.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::summary::Summary;
use crate::exit::UsageError;

/// Writes the report to `path`, whole or not at all.
pub fn write(summary: &Summary, path: &Path) -> Result<()> {
    let mut json = serde_json::to_string_pretty(summary).context("failed to make the JSON report")?;
    json.push('\n');
    write_whole(path, json.as_bytes())
}

/// Says whether a report could be written to `path`, before there is one.
pub fn check(path: &Path) -> Result<()> {
    let directory = directory(path);
    if path.is_dir() || !directory.is_dir() {
        let why = if path.is_dir() {
            "it is a directory".into()
        } else {
            format!("there is no directory {}", directory.display())
        };
        return Err(UsageError(format!("failed to write {}: {why}", path.display())).into());
    }
    Ok(())
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes aside, in the same directory, and renames; a link is followed, a device or pipe written to.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let failed = || format!("failed to write {}", path.display());
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return fs::write(path, content).with_context(failed);
    }
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut file = tempfile::NamedTempFile::new_in(directory(&target)).with_context(failed)?;
    file.write_all(content).with_context(failed)?;
    file.as_file().set_permissions(Permissions::from_mode(0o644)).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(&target).with_context(failed)?;
    Ok(())
}
