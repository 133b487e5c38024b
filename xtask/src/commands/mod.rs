//! The commands, one in each file.

mod accelerate;
mod bench;
mod build;
mod guests;
mod kernels;
mod machines;
mod package;
mod report;
mod run;
mod setup;
mod shell;
mod soak;
mod test;
mod vm_test;

use std::fmt::Display;

use anyhow::Result;
use hooklab_vm::event::Observer;
use hooklab_vm::kernel::{Kernels, Options};

use crate::build::Programs;
use crate::cli::{KernelOptions, Language, ProgramOptions, SetupOptions};
use crate::lab::Lab;
use crate::setup::rust;

/// The kernels of this checkout, as the command line wants them to be had.
pub(crate) fn open_kernels(lab: &Lab, options: &KernelOptions) -> Result<Kernels> {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let options = Options {
        mirror: options.mirror.clone().filter(|url| !url.is_empty()).or_else(|| variable("HOOKLAB_MIRROR")),
        security_mirror: variable("HOOKLAB_SECURITY_MIRROR"),
        locked: options.locked,
        offline: options.offline,
        accept_expired: options.accept_expired,
        cancel: lab.cancelled.clone(),
    };
    Kernels::open(&lab.root.join("vm"), &lab.cache, options).map_err(failed_to)
}

/// The programs that the command line wants, once what they take is there.
fn programs(
    lab: &Lab,
    programs: &ProgramOptions,
    setup: &SetupOptions,
    observer: &dyn Observer,
) -> Result<Programs> {
    let rust = programs.wants(Language::Rust).then(|| rust::ensure(lab, setup, observer));
    Ok(Programs { c: programs.wants(Language::C), rust: rust.transpose()? })
}

/// An error of a library's, whose text says what failed and why, for a person.
fn failed_to(error: impl Display) -> anyhow::Error {
    anyhow::anyhow!("failed to {error}")
}
