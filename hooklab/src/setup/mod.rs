//! The set-up: finds out what is missing, and gets it. Finding out takes milliseconds where nothing is.

mod debian;
mod lock;
mod programs;
mod virtiofsd;
mod virtme;

use std::path::PathBuf;

use anyhow::Result;
use hooklab_vm::event::Observer;
use hooklab_vm::qemu::command_line::Tools;

use crate::lab::Lab;
use crate::options::SetupOptions;

pub use lock::hold;
pub use programs::{cargo, find_program, is_program, library, output, run};

/// What a command needs beside Rust and what it takes to have the programs that go into guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Compile eBPF programs in C.
    Compile,
    /// Boot kernels.
    Run,
    /// Boot kernels with the host's files, as plain virtme-ng does.
    Shell,
}

/// Sees to it that everything for `purposes` is there.
///
/// # Errors
/// Something is missing, and cannot or must not be installed.
pub fn ensure(
    lab: &Lab,
    purposes: &[Purpose],
    options: &SetupOptions,
    observer: &dyn Observer,
) -> Result<()> {
    debian::ensure(lab, purposes, options, observer)?;
    lab.check_interrupt()?;
    if purposes.iter().any(|purpose| matches!(purpose, Purpose::Run | Purpose::Shell)) {
        virtme::ensure(lab, options, observer)?;
    }
    if purposes.contains(&Purpose::Shell) {
        virtiofsd::ensure(lab, options, observer)?;
    }
    lab.check_interrupt()
}

/// The programs that make machines; to be asked for after [`ensure`].
///
/// # Errors
/// QEMU is missing, or does not run.
pub fn tools(lab: &Lab) -> Result<Tools> {
    let (qemu, qemu_version, sandbox) = programs::qemu()?;
    let (vng, vng_version) = (virtme::vng(lab), virtme::pinned_version().to_owned());
    Ok(Tools { vng, vng_version, qemu, qemu_version, sandbox })
}

/// The directory of the virtiofsd that was built here, if one was.
pub fn virtiofsd_directory(lab: &Lab) -> Option<PathBuf> {
    virtiofsd::built(lab)
}
