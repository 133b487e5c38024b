//! The static binaries of the guest: loader, agent, tests and their helpers, in one call of cargo.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use hooklab_vm::event::{Event, Observer};
use serde::Deserialize;

use crate::lab::Lab;
use crate::setup;

/// Named explicitly, so that build scripts and procedural macros, which run here, stay dynamic.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The binary that packs objects; it runs here, on the host.
const PACKAGER: &str = "hooklab-package";

/// What was built.
pub(super) struct Binaries {
    pub(super) tests: PathBuf,
    pub(super) agent: PathBuf,
    pub(super) programs: Vec<PathBuf>,
    pub(super) specimens: PathBuf,
    pub(super) packager: Packager,
}

/// What it takes to make a package.
pub(super) struct Packager {
    /// The binary that packs objects.
    pub(super) binary: PathBuf,
    /// The source of the crate that carries the `bpf/` headers.
    pub(super) libbpf_sys: PathBuf,
}

/// A line of `cargo build --message-format=json` (the Cargo book, "JSON messages").
#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    manifest_path: Option<PathBuf>,
    executable: Option<PathBuf>,
    #[serde(default)]
    fresh: bool,
}

#[derive(Deserialize)]
struct Target {
    name: String,
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
    let packages = ["hooklab-loader", "hooklab-loader-eunomia", PACKAGER, "hooklab-agent", "hooklab-tests"];
    let binaries = ["hooklab-loader", "hooklab-loader-eunomia", PACKAGER, "hooklab-agent", "hooklab-actor"];
    let built = run_cargo(lab, &packages, &binaries, &["guest", "specimens"], &features, observer)?;
    Ok(Binaries {
        tests: built.find("guest")?,
        agent: built.find("hooklab-agent")?,
        specimens: built.find("specimens")?,
        programs: vec![
            built.find("hooklab-loader")?,
            built.find("hooklab-loader-eunomia")?,
            built.find("hooklab-actor")?,
        ],
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
    let mut child =
        command.args(["--features", &features.join(",")]).spawn().context("failed to run cargo")?;
    let (mut executables, mut libbpf_sys) = (Vec::new(), None);
    let messages = child.stdout.take().context("failed to listen to cargo")?;
    for line in BufReader::new(messages).lines() {
        let line = line.context("failed to listen to cargo")?;
        let Ok(Message { reason, target: Some(target), manifest_path, executable, fresh }) =
            serde_json::from_str(&line)
        else {
            continue;
        };
        if reason != "compiler-artifact" {
            continue;
        }
        if !fresh {
            observer.notify(Event::Step(format!("building the guest's binaries: {}", target.name)));
        }
        if target.name == "libbpf_sys" {
            libbpf_sys = manifest_path.and_then(|manifest| Some(manifest.parent()?.to_owned()));
        }
        executables.extend(executable.map(|path| (target.name, path)));
    }
    if !child.wait().context("failed to run cargo")?.success() {
        lab.check_interrupt()?;
        bail!("failed to build the guest's binaries; cargo says why, above");
    }
    Ok(Built { executables, libbpf_sys })
}

fn command(lab: &Lab) -> Result<Command> {
    // Not position-independent: a guest under TCG would relocate, and partly translate, each process anew.
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned(), "-Crelocation-model=static".to_owned()];
    flags.extend(setup::static_link_arguments().iter().map(|word| format!("-Clink-arg={word}")));
    let mut command = Command::new(setup::cargo());
    command
        .args([
            "build",
            "--quiet",
            "--release",
            "--target",
            TARGET,
            "--message-format=json-render-diagnostics",
        ])
        .arg("--target-dir")
        .arg(lab.target.join("guest"))
        .current_dir(&lab.root)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("LIBBPF_SYS_LIBRARY_PATH", setup::static_library_folder()?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    // What cargo told us of our own package would make the same build look like another one.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    Ok(command)
}
