//! The commands, one in each file.

mod accelerate;
mod bench;
mod build;
mod kernels;
mod setup;
mod shell;
mod test;
mod vm_test;

use anyhow::Result;
use hooklab_vm::kernel::{Kernels, Options};

use crate::cli::KernelOptions;
use crate::lab::Lab;

/// The kernels of this checkout, as the command line wants them to be had.
fn open_kernels(lab: &Lab, options: &KernelOptions) -> Result<Kernels> {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let options = Options {
        mirror: options.mirror.clone().filter(|url| !url.is_empty()),
        security_mirror: variable("HOOKLAB_SECURITY_MIRROR"),
        locked: options.locked,
        offline: options.offline,
        cancel: lab.cancelled.clone(),
    };
    Ok(Kernels::open(&lab.root.join("vm"), &lab.cache, options)?)
}
