//! virtme-ng in a virtual environment of its own, by version and hash.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hooklab_vm::event::{Event, Observer};
use hooklab_vm::host::digest::{hex, sha256};
use xshell::{Shell, cmd};

use super::lock;
use super::programs::{find_program, output, run};
use crate::lab::Lab;
use crate::options::SetupOptions;

/// virtme-ng, by version and hash, as pip reads it.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// In a finished environment; a virtual environment cannot be made aside and renamed, since its scripts name
/// their own place.
const FINISHED: &str = "hooklab-finished";

/// A Python that can make virtual environments.
pub(super) fn python() -> Option<PathBuf> {
    let able =
        |python: &PathBuf| output(&python.display().to_string(), &["-c", "import venv, ensurepip"]).is_some();
    // A Python of a version manager's may lack what Debian's has.
    [find_program("python3"), Some("/usr/bin/python3".into())].into_iter().flatten().find(able)
}

fn directory(lab: &Lab) -> PathBuf {
    lab.cache.join("virtme-ng").join(hex(&sha256([REQUIREMENTS])[..6]))
}

/// Whether the environment is there.
pub(super) fn is_there(lab: &Lab) -> bool {
    directory(lab).join(FINISHED).exists()
}

/// The version that is pinned.
pub(super) fn pinned_version() -> &'static str {
    let version = REQUIREMENTS.lines().find_map(|line| line.strip_prefix("virtme-ng=="));
    version.unwrap_or_default().trim_end_matches(['\\', ' '])
}

/// The path of `vng`.
pub(super) fn vng(lab: &Lab) -> PathBuf {
    directory(lab).join("bin/vng")
}

/// Makes the environment unless it is there.
pub(super) fn ensure(lab: &Lab, options: &SetupOptions, observer: &dyn Observer) -> Result<()> {
    let directory = directory(lab);
    if directory.join(FINISHED).exists() {
        return Ok(());
    }
    if options.no_install {
        bail!(
            "virtme-ng is missing; run: hooklab setup (it makes a virtual environment in {} and installs virtme-ng {} there)",
            directory.display(),
            pinned_version()
        );
    }
    observer.notify(Event::Step(format!("installing virtme-ng {}", pinned_version())));
    let parent = directory.parent().unwrap_or(Path::new("."));
    let _lock = lock::hold(lab, parent, observer)?;
    if directory.join(FINISHED).exists() {
        return Ok(());
    }
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("failed to remove {}", directory.display()))?;
    }
    let python = python().context("failed to find a python3 with venv")?;
    let (shell, pip) = (Shell::new()?, directory.join("bin/pip"));
    run(cmd!(shell, "{python} -m venv {directory}"))?;
    let pins = tempfile::NamedTempFile::new().context("failed to make a temporary file")?;
    fs::write(pins.path(), REQUIREMENTS).context("failed to write a temporary file")?;
    let requirements = pins.path();
    run(cmd!(
        shell,
        "{pip} install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes
            --requirement {requirements}"
    ))?;
    File::create(directory.join(FINISHED))?.sync_all()?;
    Ok(())
}
