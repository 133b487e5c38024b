//! The static binaries of the guest: loader, agent, tests and their helpers, in one call of cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use hooklab::cargo::{self, Artifact};
use hooklab::guest_half::{EUNOMIA, LOADER};
use hooklab::lab::{GuestPrograms, Lab};
use hooklab::setup;
use hooklab_vm::event::{Event, Observer};

use crate::checkout::Checkout;

/// Named explicitly, so that build scripts and procedural macros, which run here, stay dynamic.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The binary that packs objects; it runs here, on the host.
const PACKAGER: &str = "hooklab-package";

/// What was built.
pub(super) struct Binaries {
    pub(super) tests: PathBuf,
    pub(super) guest: GuestPrograms,
    pub(super) actor: PathBuf,
    pub(super) misbehaving: PathBuf,
    /// The binary that packs objects.
    pub(super) packager: PathBuf,
}

/// Builds all of them.
pub(super) fn build(checkout: &Checkout, lab: &Lab, observer: &dyn Observer) -> Result<Binaries> {
    let features = [
        "hooklab-loader/static",
        "hooklab-loader-eunomia/static",
        "hooklab-package/static",
        "hooklab-tests/guest",
        "hooklab-tests/misbehaving",
    ];
    let packages = [LOADER, EUNOMIA, PACKAGER, "hooklab-agent", "hooklab-tests"];
    let binaries = [LOADER, EUNOMIA, PACKAGER, "hooklab-agent", "hooklab-actor", "hooklab-demo"];
    let built =
        run_cargo(checkout, lab, &packages, &binaries, &["guest", "misbehaving"], &features, observer)?;
    Ok(Binaries {
        tests: built.find("guest")?,
        guest: GuestPrograms {
            agent: built.find("hooklab-agent")?,
            demo: built.find("hooklab-demo")?,
            loaders: vec![(LOADER.into(), built.find(LOADER)?), (EUNOMIA.into(), built.find(EUNOMIA)?)],
        },
        actor: built.find("hooklab-actor")?,
        misbehaving: built.find("misbehaving")?,
        packager: built.find(PACKAGER)?,
    })
}

/// Builds only what packs objects, in the same way: what is built for one is built for the other.
pub(crate) fn build_packager(checkout: &Checkout, lab: &Lab, observer: &dyn Observer) -> Result<PathBuf> {
    run_cargo(checkout, lab, &[PACKAGER], &[PACKAGER], &[], &["hooklab-package/static"], observer)?
        .find(PACKAGER)
}

/// What one call of cargo gave.
struct Built {
    executables: Vec<(String, PathBuf)>,
}

impl Built {
    fn find(&self, name: &str) -> Result<PathBuf> {
        let found = self.executables.iter().find(|(target, _)| target == name).map(|(_, path)| path.clone());
        found.with_context(|| format!("failed to find {name} among what cargo built"))
    }
}

fn run_cargo(
    checkout: &Checkout,
    lab: &Lab,
    packages: &[&str],
    binaries: &[&str],
    tests: &[&str],
    features: &[&str],
    observer: &dyn Observer,
) -> Result<Built> {
    let mut command = command(checkout)?;
    let options = [("-p", packages), ("--bin", binaries), ("--test", tests)];
    for (option, names) in options {
        command.args(names.iter().flat_map(|name| [option, name]));
    }
    command.args(["--features", &features.join(",")]);
    let mut executables = Vec::new();
    let built = cargo::run(lab, command, |Artifact { target, executable, fresh, .. }| {
        if !fresh {
            observer.notify(Event::Step(format!("building the guest's binaries: {}", target.name)));
        }
        executables.extend(executable.map(|path| (target.name, path)));
    });
    built.context("failed to build the guest's binaries")?;
    Ok(Built { executables })
}

fn command(checkout: &Checkout) -> Result<Command> {
    // Not position-independent: a guest under TCG would relocate, and partly translate, each process anew.
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned(), "-Crelocation-model=static".to_owned()];
    flags.extend(static_link_arguments().iter().map(|word| format!("-Clink-arg={word}")));
    let mut command = Command::new(setup::cargo());
    command
        .args(["build", "--quiet", "--release", "--target", TARGET, cargo::MESSAGES])
        .arg("--target-dir")
        .arg(checkout.target.join("guest"))
        .current_dir(&checkout.root)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("LIBBPF_SYS_LIBRARY_PATH", static_library_directory()?);
    Ok(command)
}

/// The directory of the static libraries that libbpf needs.
fn static_library_directory() -> Result<PathBuf> {
    let library = setup::library("libelf.a").context("failed to find libelf.a: run `cargo xtask setup`")?;
    Ok(library.parent().unwrap_or(Path::new("/")).to_owned())
}

/// What a static libelf needs linked beside zlib; newer ones compress with zstd, too. Named as archives: rustc has
/// the linker prefer shared libraries again by the time it comes to these, and a static program with one crashes.
fn static_link_arguments() -> Vec<String> {
    let libraries = setup::output("pkg-config", &["--static", "--libs-only-l", "libelf"]).unwrap_or_default();
    let names = libraries.split_whitespace().filter_map(|word| word.strip_prefix("-l"));
    names.filter(|name| !["elf", "z"].contains(name)).map(|name| format!("-l:lib{name}.a")).collect()
}
