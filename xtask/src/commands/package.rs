//! `cargo xtask package`: what the tutorial does with `ecc`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cli::Package;
use crate::exit::{Exit, UsageError};
use crate::lab::Lab;
use crate::setup::{self, Purpose};
use crate::{build, report};

impl Package {
    /// Compiles and packs.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Exit> {
        for path in [Some(&self.source), self.header.as_ref()].into_iter().flatten() {
            if !path.is_file() {
                return Err(UsageError(format!("there is no file {}", path.display())).into());
            }
        }
        // What is run in another folder must be found from there.
        let source = std::path::absolute(&self.source).context("failed to find the source")?;
        let include = self
            .include
            .iter()
            .map(std::path::absolute)
            .collect::<Result<Vec<PathBuf>, _>>()
            .context("failed to find a folder")?;
        let folder = self.source.parent().unwrap_or(Path::new(""));
        let beside = source.with_file_name(format!("{}.h", name(&source)));
        let header = self.header.clone().or_else(|| beside.is_file().then_some(beside));
        let output = self.output.as_deref().unwrap_or(folder);

        let reporter = report::live(false);
        setup::ensure(lab, Purpose::Build, &self.setup, reporter.as_ref())?;
        build::package(lab, &source, header.as_deref(), &include, output, reporter.as_ref())?;
        drop(reporter);
        Ok(Exit::Success)
    }
}

/// What a file's name has before its first dot.
fn name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    file.split('.').next().unwrap_or_default().to_owned()
}
