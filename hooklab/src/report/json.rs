//! The JSON report.

use std::path::Path;

use anyhow::{Context, Result};
use hooklab_types::report::Report;
use hooklab_vm::host::write_whole;

use crate::exit::UsageError;

/// Writes the report to `path`, whole or not at all.
pub fn write(report: &Report, path: &Path) -> Result<()> {
    let mut json = serde_json::to_string_pretty(report).context("failed to make the JSON report")?;
    json.push('\n');
    Ok(write_whole(path, json.as_bytes())?)
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
