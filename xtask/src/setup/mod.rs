//! The set-up: finds out what is missing, and gets it. Finding out takes milliseconds where nothing is.

mod debian;
mod lock;
mod programs;
pub(crate) mod rust;
mod virtiofsd;
mod virtme;

use std::path::PathBuf;

use anyhow::Result;
use hooklab_vm::compose::Tools;
use hooklab_vm::event::Observer;

use crate::cli::SetupOptions;
use crate::lab::Lab;

pub(crate) use programs::{
    cargo, find_program, is_program, output, run, static_library_folder, static_link_arguments,
};

/// What a command needs beside Rust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Build the objects and the guest's binaries.
    Build,
    /// Build, and boot kernels.
    Run,
    /// Boot kernels with the host's files, as plain virtme-ng does.
    Shell,
}

/// Sees to it that everything for `purpose` is there.
pub(crate) fn ensure(
    lab: &Lab,
    purpose: Purpose,
    options: &SetupOptions,
    observer: &dyn Observer,
) -> Result<()> {
    debian::ensure(lab, purpose, options, observer)?;
    lab.check_interrupt()?;
    if purpose != Purpose::Build {
        virtme::ensure(lab, options, observer)?;
    }
    if purpose == Purpose::Shell {
        virtiofsd::ensure(lab, options, observer)?;
    }
    lab.check_interrupt()
}

/// The programs that make machines; to be asked for after [`ensure`].
pub(crate) fn tools(lab: &Lab) -> Result<Tools> {
    let (qemu, qemu_version, sandbox) = programs::qemu()?;
    let (vng, vng_version) = (virtme::vng(lab)?, virtme::pinned_version(lab)?);
    Ok(Tools { vng, vng_version, qemu, qemu_version, sandbox })
}

/// The folder of the virtiofsd that was built here, if one was.
pub(crate) fn virtiofsd_folder(lab: &Lab) -> Option<PathBuf> {
    virtiofsd::built(lab)
}
