//! The kernels that hold here, as the command line wants them to be had.

use std::fmt::Display;

use anyhow::Result;
use hooklab_vm::kernel::{Kernels, Options};

use crate::lab::Lab;
use crate::options::KernelOptions;

/// Opens the kernels of the project.
///
/// # Errors
/// The catalog or the pins cannot be read or understood.
pub fn open(lab: &Lab, options: &KernelOptions) -> Result<Kernels> {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let options = Options {
        mirror: options.mirror.clone().filter(|url| !url.is_empty()).or_else(|| variable("HOOKLAB_MIRROR")),
        security_mirror: variable("HOOKLAB_SECURITY_MIRROR"),
        locked: options.locked,
        offline: options.offline,
        accept_expired: options.accept_expired,
        cancel: lab.cancelled.clone(),
    };
    Kernels::open(&lab.project.catalog, &lab.project.pins, &lab.cache, options).map_err(failed_to)
}

/// An error of a library's, whose text says what failed and why, for a person.
pub fn failed_to(error: impl Display) -> anyhow::Error {
    anyhow::anyhow!("failed to {error}")
}
