//! The JSON report.

use std::path::Path;

use anyhow::{Context, Result};

use super::summary::Summary;

/// Writes the report to `path`, whole or not at all.
pub(crate) fn write(summary: &Summary, path: &Path) -> Result<()> {
    let mut json = serde_json::to_string_pretty(summary).context("failed to make the JSON report")?;
    json.push('\n');
    write_whole(path, json.as_bytes())
}

/// Writes aside, in the same folder, and renames.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let failed = || format!("failed to write {}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    std::io::Write::write_all(&mut file, content).with_context(failed)?;
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).with_context(failed)?;
    file.persist(path).with_context(failed)?;
    Ok(())
}
