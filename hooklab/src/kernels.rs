//! The kernels that hold here, as the command line asks for them.

use anyhow::Result;
use hooklab_vm::kernel::{self, Kernels, Obstacle, Options};

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

/// An error of the library's for a person: what failed, why, and what to do about it.
pub fn failed_to(error: impl Into<anyhow::Error>) -> anyhow::Error {
    let error = error.into();
    let obstacle = error.downcast_ref().and_then(kernel::Error::obstacle);
    match obstacle.map(remedy) {
        Some(remedy) => anyhow::anyhow!("{error:#}; {remedy}"),
        None => error,
    }
}

/// What to do about what stands in the way: the library knows neither options nor variables nor commands of ours.
fn remedy(obstacle: Obstacle) -> String {
    match obstacle {
        Obstacle::Lock => "run `hooklab kernels lock`, or leave out --locked".into(),
        Obstacle::DamagedLock => "`hooklab kernels lock` makes a new one once the file is deleted".into(),
        Obstacle::Offline => "leave out --offline".into(),
        Obstacle::Elf(image) => format!("pass the {image} that was built with it"),
        Obstacle::NotBuilt(command) => format!("build it there with `{command}`"),
        Obstacle::NoMirror => "pass --mirror URL or set HOOKLAB_MIRROR".into(),
        Obstacle::NotInstalled(package) => format!("install the package {package}"),
        Obstacle::StorageFull => "make room, or set HOOKLAB_CACHE to another directory".into(),
        Obstacle::PermissionDenied => "it may be another user's: set HOOKLAB_CACHE to one of yours".into(),
        Obstacle::ReadOnlyFilesystem => "set HOOKLAB_CACHE to another directory".into(),
    }
}
