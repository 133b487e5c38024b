//! The eBPF objects that are written in Rust, the same bytes whatever directory the checkout lies in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hooklab::cargo::{self, Artifact};
use hooklab::lab::Lab;
use hooklab_vm::event::{Event, Observer};
use object::build::elf;
use object::elf::SHT_STRTAB;

use crate::checkout::Checkout;
use crate::rust::{RustForBpf, TARGET};

/// The crate, below the checkout. Each of its programs becomes an object.
const CRATE: &str = "ebpf/minimal-rust";

/// Builds the objects; cargo knows what has changed.
pub(super) fn build(
    checkout: &Checkout,
    lab: &Lab,
    rust: &RustForBpf,
    observer: &dyn Observer,
) -> Result<Vec<PathBuf>> {
    let directory = checkout.work().join("objects");
    fs::create_dir_all(&directory).with_context(|| format!("failed to make {}", directory.display()))?;
    let mut objects = Vec::new();
    let mut command = rust.cargo();
    command
        .args(["build", "--quiet", "--locked", "--release", cargo::MESSAGES, "--target-dir"])
        .arg(checkout.work().join("rust"))
        .arg("--config")
        .arg(flags(checkout, rust)?)
        // For its own configuration.
        .current_dir(checkout.root.join(CRATE));
    let built = cargo::run(lab, command, |Artifact { target, executable, fresh, .. }| {
        if !fresh {
            observer.notify(Event::Step(format!("building the program in Rust: {}", target.name)));
        }
        objects.extend(executable.map(|path| (target.name, path)));
    });
    built.context("failed to build the program in Rust")?;
    objects.into_iter().map(|(name, path)| place(&path, directory.join(format!("{name}.bpf.o")))).collect()
}

/// Directorys are given stand-ins, since debug information carries their names.
fn flags(checkout: &Checkout, rust: &RustForBpf) -> Result<String> {
    let home =
        std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(dirs::home_dir()?.join(".cargo")));
    let home = home.context("failed to find cargo's directory: set HOME or CARGO_HOME")?;
    let directories =
        [(rust.library(), "library"), (home.join("registry/src"), "registry"), (checkout.root.clone(), ".")];
    let flags =
        directories.map(|(directory, name)| format!("--remap-path-prefix={}={name}", directory.display()));
    Ok(format!("target.{TARGET}.rustflags={flags:?}"))
}

/// Puts an object beside the others, unless it is there already.
fn place(built: &Path, object: PathBuf) -> Result<PathBuf> {
    let failed = || format!("failed to write {}", object.display());
    let bytes = fs::read(built).with_context(|| format!("failed to read {}", built.display()))?;
    let bytes = without_dwarf(&bytes).with_context(failed)?;
    if fs::read(&object).ok().as_ref() != Some(&bytes) {
        let aside = tempfile::NamedTempFile::new_in(object.parent().unwrap_or(Path::new(".")))?;
        fs::write(aside.path(), &bytes).with_context(failed)?;
        aside.into_temp_path().persist(&object).with_context(failed)?;
    }
    Ok(object)
}

/// Takes the sections out from which the linker has made BTF. Names in them hold hashes of where the source of `core`
/// was, and nobody reads them any more.
fn without_dwarf(object: &[u8]) -> Result<Vec<u8>> {
    let mut elf = elf::Builder::read(object)?;
    for section in &mut elf.sections {
        section.delete =
            [b".debug_".as_slice(), b".rel.debug_"].iter().any(|name| section.name.starts_with(name));
    }
    elf.delete_orphans();
    // The linker has all names in one table; here, sections have one of their own.
    let names = elf.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.data = elf::SectionData::SectionString;
    let mut bytes = Vec::new();
    elf.write(&mut bytes)?;
    Ok(bytes)
}
