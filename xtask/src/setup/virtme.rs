//! virtme-ng in a virtual environment of its own, by version and hash.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hooklab_vm::event::{Event, Observer};
use sha2::{Digest, Sha256};
use xshell::{Shell, cmd};

use super::lock;
use super::programs::{find_program, output, run};
use crate::cli::SetupOptions;
use crate::lab::Lab;

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

fn requirements(lab: &Lab) -> PathBuf {
    lab.root.join("vm/requirements.txt")
}

fn folder(lab: &Lab) -> Result<PathBuf> {
    let path = requirements(lab);
    let pins = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let key: String = Sha256::digest(pins).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    Ok(lab.cache.join("virtme-ng").join(key))
}

/// Whether the environment is there.
pub(super) fn is_there(lab: &Lab) -> bool {
    folder(lab).is_ok_and(|folder| folder.join(FINISHED).exists())
}

/// The version that is pinned.
pub(super) fn pinned_version(lab: &Lab) -> Result<String> {
    let text = fs::read_to_string(requirements(lab))?;
    let version = text.lines().find_map(|line| line.strip_prefix("virtme-ng=="));
    let version = version.map(|rest| rest.trim_end_matches(['\\', ' ']).to_owned());
    version.context("failed to find virtme-ng in vm/requirements.txt")
}

/// The path of `vng`.
pub(super) fn vng(lab: &Lab) -> Result<PathBuf> {
    Ok(folder(lab)?.join("bin/vng"))
}

/// Makes the environment unless it is there.
pub(super) fn ensure(lab: &Lab, options: &SetupOptions, observer: &dyn Observer) -> Result<()> {
    let folder = folder(lab)?;
    if folder.join(FINISHED).exists() {
        return Ok(());
    }
    let requirements = requirements(lab);
    if options.no_install {
        bail!(
            "virtme-ng is missing; run: cargo xtask setup (it makes a virtual environment in {} and installs {} there)",
            folder.display(),
            requirements.display()
        );
    }
    observer.notify(Event::Step(format!("installing virtme-ng {}", pinned_version(lab)?)));
    let parent = folder.parent().unwrap_or(Path::new("."));
    let _lock = lock::hold(lab, parent, observer)?;
    if folder.join(FINISHED).exists() {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    let python = python().context("failed to find a python3 with venv")?;
    let (shell, pip) = (Shell::new()?, folder.join("bin/pip"));
    run(cmd!(shell, "{python} -m venv {folder}"))?;
    run(cmd!(
        shell,
        "{pip} install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes
            --requirement {requirements}"
    ))?;
    File::create(folder.join(FINISHED))?.sync_all()?;
    Ok(())
}
