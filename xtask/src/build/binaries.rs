//! The static binaries of the guest: loader, agent, tests and their helpers, in one call of cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use hooklab_vm::event::{Event, Observer};

use crate::cargo::{self, Artifact};
use crate::lab::Lab;
use crate::setup;

/// Named explicitly, so that build scripts and procedural macros, which run here, stay dynamic.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The binary that packs objects; it runs here, on the host.
const PACKAGER: &str = "hooklab-package";

/// The loaders that come with eunomia's engine: a third of what there is to be sent.
pub(crate) const EUNOMIA: &str = "hooklab-loader-eunomia";

/// What was built.
pub(super) struct Binaries {
    pub(super) tests: PathBuf,
    pub(super) agent: PathBuf,
    pub(super) programs: Vec<PathBuf>,
    pub(super) specimens: PathBuf,
    pub(super) demo: PathBuf,
    pub(super) packager: Packager,
}

/// What it takes to make a package.
pub(super) struct Packager {
    /// The binary that packs objects.
    pub(super) binary: PathBuf,
    /// The source of the crate that carries the `bpf/` headers.
    pub(super) libbpf_sys: PathBuf,
}

/// Builds all of them.
pub(super) fn build(lab: &Lab, observer: &dyn Observer) -> Result<Binaries> {
    let features = [
        "hooklab-loader/static",
        "hooklab-loader-eunomia/static",
        "hooklab-package/static",
        "hooklab-tests/guest",
        "hooklab-tests/specimens",
    ];
    let packages = ["hooklab-loader", EUNOMIA, PACKAGER, "hooklab-agent", "hooklab-tests"];
    let binaries = ["hooklab-loader", EUNOMIA, PACKAGER, "hooklab-agent", "hooklab-actor"];
    let built = run_cargo(lab, &packages, &binaries, &["guest", "specimens", "demo"], &features, observer)?;
    Ok(Binaries {
        tests: built.find("guest")?,
        agent: built.find("hooklab-agent")?,
        specimens: built.find("specimens")?,
        demo: built.find("demo")?,
        programs: vec![built.find("hooklab-loader")?, built.find(EUNOMIA)?, built.find("hooklab-actor")?],
        packager: built.packager()?,
    })
}

/// Builds only what packs objects, in the same way: what is built for one is built for the other.
pub(super) fn build_packager(lab: &Lab, observer: &dyn Observer) -> Result<Packager> {
    run_cargo(lab, &[PACKAGER], &[PACKAGER], &[], &["hooklab-package/static"], observer)?.packager()
}

/// What one call of cargo gave.
struct Built {
    executables: Vec<(String, PathBuf)>,
    libbpf_sys: Option<PathBuf>,
}

impl Built {
    fn find(&self, name: &str) -> Result<PathBuf> {
        let found = self.executables.iter().find(|(target, _)| target == name).map(|(_, path)| path.clone());
        found.with_context(|| format!("failed to find {name} among what cargo built"))
    }

    fn packager(&self) -> Result<Packager> {
        let libbpf_sys =
            self.libbpf_sys.clone().context("failed to find libbpf-sys among what cargo built")?;
        Ok(Packager { binary: self.find(PACKAGER)?, libbpf_sys })
    }
}

fn run_cargo(
    lab: &Lab,
    packages: &[&str],
    binaries: &[&str],
    tests: &[&str],
    features: &[&str],
    observer: &dyn Observer,
) -> Result<Built> {
    let mut command = command(lab)?;
    let options = [("-p", packages), ("--bin", binaries), ("--test", tests)];
    for (option, names) in options {
        command.args(names.iter().flat_map(|name| [option, name]));
    }
    command.args(["--features", &features.join(",")]);
    let (mut executables, mut libbpf_sys) = (Vec::new(), None);
    let built = cargo::run(lab, command, |Artifact { target, manifest_path, executable, fresh, .. }| {
        if !fresh {
            observer.notify(Event::Step(format!("building the guest's binaries: {}", target.name)));
        }
        if target.name == "libbpf_sys" {
            libbpf_sys = manifest_path.parent().map(Path::to_owned);
        }
        executables.extend(executable.map(|path| (target.name, path)));
    });
    built.context("failed to build the guest's binaries")?;
    Ok(Built { executables, libbpf_sys })
}

fn command(lab: &Lab) -> Result<Command> {
    // Not position-independent: a guest under TCG would relocate, and partly translate, each process anew.
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned(), "-Crelocation-model=static".to_owned()];
    flags.extend(setup::static_link_arguments().iter().map(|word| format!("-Clink-arg={word}")));
    let mut command = Command::new(setup::cargo());
    command
        .args(["build", "--quiet", "--release", "--target", TARGET, cargo::MESSAGES])
        .arg("--target-dir")
        .arg(lab.target.join("guest"))
        .current_dir(&lab.root)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("LIBBPF_SYS_LIBRARY_PATH", setup::static_library_folder()?);
    Ok(command)
}
