//! virtiofsd, by which plain virtme-ng shares the host's files with a cloud kernel. virtme-ng refuses the one of
//! QEMU 7 that is written in C.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use hooklab_vm::event::{Event, Observer};
use xshell::{Shell, cmd};

use super::programs::{cargo, find_program, run};
use crate::lab::Lab;
use crate::options::SetupOptions;

/// The version of the crate that is built where the system has none.
const VERSION: &str = "1.14.0";

fn directory(lab: &Lab) -> PathBuf {
    lab.cache.join("virtiofsd").join(VERSION)
}

/// The directory of the one that was built here.
pub(super) fn built(lab: &Lab) -> Option<PathBuf> {
    let bin = directory(lab).join("bin");
    bin.join("virtiofsd").exists().then_some(bin)
}

/// Whether the system has one where virtme-ng looks.
pub(super) fn installed() -> bool {
    find_program("virtiofsd").is_some() || Path::new("/usr/libexec/virtiofsd").exists()
}

/// Builds it unless there is one. Cargo puts a program in place only once it is whole.
pub(super) fn ensure(lab: &Lab, options: &SetupOptions, observer: &dyn Observer) -> Result<()> {
    if installed() || built(lab).is_some() {
        return Ok(());
    }
    let root = directory(lab);
    if options.no_install {
        bail!(
            "virtiofsd is missing; run: cargo install virtiofsd@{VERSION} --locked --root {}",
            root.display()
        );
    }
    observer.notify(Event::Step(format!("building virtiofsd {VERSION} (once, about a minute)")));
    let (shell, cargo) = (Shell::new()?, cargo());
    shell.change_dir("/");
    let install = cmd!(shell, "{cargo} install --quiet --locked --root {root} virtiofsd@{VERSION}");
    run(crate::cargo::settings_of_the_caller().into_iter().fold(install, xshell::Cmd::env_remove))
}
