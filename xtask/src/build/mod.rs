//! Builds all that a guest runs, and packs it.

mod binaries;
mod guest_half;
mod objects;
mod packages;
mod rust;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hooklab::compile;
use hooklab::ecli::Ecli;
use hooklab::lab::{GuestPrograms, Lab};
use hooklab_vm::event::Observer;
use hooklab_vm::payload::{self, Payload};

use crate::checkout::Checkout;
use crate::rust::RustForBpf;

pub(crate) use binaries::build_packager;

/// Where the guest-test binary is in the payload.
pub(crate) const TEST_BINARY: &str = "guest";

/// The directory of the payload that stands for the checkout: snapshots are found, and written, below it.
pub(crate) const WORKSPACE: &str = "workspace";

/// Where the guest tests' snapshots are, below the checkout.
pub(crate) const SNAPSHOTS: &str = "tests/guest/snapshots";

/// What was built.
pub(crate) struct Artifacts {
    /// The binary with the guest tests.
    pub(crate) tests: PathBuf,
    /// Misbehaving tests, for the tests of the command line.
    pub(crate) misbehaving: PathBuf,
    /// The agent, the loaders, and what shows what one program does.
    pub(crate) guest: GuestPrograms,
    /// The tests' helper.
    pub(crate) actor: PathBuf,
    /// The eBPF objects.
    pub(crate) objects: Vec<PathBuf>,
    /// The packages: each in a directory named after its program.
    pub(crate) packages: Vec<PathBuf>,
}

impl Artifacts {
    /// Keeps a loader out of the payload, which every guest takes in.
    pub(crate) fn leave_out(&mut self, loader: &str) {
        self.guest.loaders.retain(|(name, _)| name != loader);
    }
}

/// Which eBPF programs are built.
#[derive(Default)]
pub(crate) struct Programs {
    /// Those in C.
    pub(crate) c: bool,
    /// Those in Rust, with what that takes.
    pub(crate) rust: Option<RustForBpf>,
}

/// Builds everything; what has not changed is not built again.
pub(crate) fn build(
    checkout: &Checkout,
    lab: &Lab,
    programs: &Programs,
    observer: &dyn Observer,
) -> Result<Artifacts> {
    // The two have nothing in common but the processor.
    let (binaries, in_rust) = std::thread::scope(|scope| {
        let in_rust =
            scope.spawn(|| programs.rust.as_ref().map(|rust| rust::build(checkout, lab, rust, observer)));
        (binaries::build(checkout, lab, observer), in_rust.join())
    });
    lab.check_interrupt()?;
    let binaries = binaries?;
    let mut objects = Vec::new();
    if programs.c {
        objects = objects::build(checkout, lab, &compile::headers(lab, &binaries.packager)?, observer)?;
        lab.check_interrupt()?;
    }
    let packages = packages::build(checkout, &binaries.packager, &objects, observer)?;
    match in_rust {
        Ok(built) => objects.extend(built.transpose()?.unwrap_or_default()),
        Err(panic) => std::panic::resume_unwind(panic),
    }
    lab.check_interrupt()?;
    let binaries::Binaries { tests, guest, actor, misbehaving, .. } = binaries;
    Ok(Artifacts { tests, misbehaving, guest, actor, objects, packages })
}

/// The archive with all that a guest runs, upstream's `ecli` among it where there is one to be run.
pub(crate) fn pack(checkout: &Checkout, artifacts: &Artifacts, ecli: Option<&Ecli>) -> Result<Payload> {
    let mut archive = payload::Builder::default();
    let mut add = |directory: &str, path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        archive.add(&format!("{directory}/{name}"), path).context("failed to pack the payload")
    };
    add("bin", &artifacts.actor)?;
    for (_, loader) in &artifacts.guest.loaders {
        add("bin", loader)?;
    }
    for object in &artifacts.objects {
        add("objects", object)?;
    }
    for snapshot in files(&checkout.root.join(SNAPSHOTS), "snap")? {
        add(&format!("{WORKSPACE}/{SNAPSHOTS}"), &snapshot)?;
    }
    for package in &artifacts.packages {
        let name = package.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        archive
            .add(&format!("objects/{name}.package.json"), package)
            .context("failed to pack the payload")?;
    }
    ecli.map_or(Ok(()), |ecli| ecli.pack(&mut archive))?;
    archive.add_program(TEST_BINARY, &artifacts.tests).context("failed to pack the payload")?;
    archive.finish().context("failed to pack the payload")
}

/// The files with that extension in `directory`, sorted; none where the directory is not there.
fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("failed to read {}", directory.display())),
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    Ok(paths)
}
