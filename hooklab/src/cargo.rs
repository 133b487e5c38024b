//! Runs cargo and listens to what it says it does.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::lab::Lab;

/// Has cargo write [`Artifact`]s, and show the compiler's own messages to the user.
pub const MESSAGES: &str = "--message-format=json-render-diagnostics";

/// Something that cargo built, or found built (the Cargo book, "JSON messages").
#[derive(Debug, Deserialize)]
pub struct Artifact {
    reason: String,
    /// What was built.
    pub target: Target,
    /// The manifest of its package.
    pub manifest_path: PathBuf,
    /// The program, if it is one.
    pub executable: Option<PathBuf>,
    /// How it was built.
    pub profile: Profile,
    /// Whether there was nothing to do.
    pub fresh: bool,
}

/// How something was built.
#[derive(Debug, Deserialize)]
pub struct Profile {
    /// With the tests in it.
    pub test: bool,
}

impl Artifact {
    /// The name of its package.
    ///
    /// # Errors
    /// The package's manifest cannot be read.
    pub fn package(&self) -> Result<String> {
        let path = self.manifest_path.display();
        let text =
            fs::read_to_string(&self.manifest_path).with_context(|| format!("failed to read {path}"))?;
        let manifest: toml::Table =
            toml::from_str(&text).with_context(|| format!("failed to read {path}"))?;
        let name = manifest.get("package").and_then(|package| package.get("name")?.as_str());
        Ok(name.with_context(|| format!("failed to find a package's name in {path}"))?.to_owned())
    }
}

/// What of a package was built.
#[derive(Debug, Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What it is: `lib`, `bin`, `test`, ...
    #[serde(default)]
    pub kind: Vec<String>,
}

/// Where cargo builds what is in `directory`, going by its files and the environment; `None` outside of packages.
pub fn target_directory(directory: &Path) -> Option<PathBuf> {
    let package = directory.ancestors().find(|directory| directory.join("Cargo.toml").is_file())?;
    let named = std::env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty());
    // A workspace has its lock at its root.
    let locked = package.ancestors().find(|directory| directory.join("Cargo.lock").is_file());
    Some(named.map_or_else(|| locked.unwrap_or(package).join("target"), PathBuf::from))
}

/// What cargo tells a program that it runs of that program's own package.
fn is_of_our_own_run(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH"].contains(&variable)
}

/// What the caller has set for builds of their own: not to be handed to a cargo that builds something of ours.
pub fn settings_of_the_caller() -> Vec<OsString> {
    let is_theirs = |name: &OsString| {
        let text = name.to_string_lossy();
        let names = ["RUSTUP_TOOLCHAIN", "RUSTC", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"];
        let groups = ["CARGO_BUILD_", "CARGO_TARGET_", "CARGO_PROFILE_", "CARGO_ENCODED_"];
        names.contains(&&*text) || groups.iter().any(|group| text.starts_with(group))
    };
    std::env::vars_os().map(|(name, _)| name).filter(is_theirs).collect()
}

/// Runs `command`, a cargo that was told to use [`MESSAGES`], and shows `artifact` each thing that it has built.
pub fn run(lab: &Lab, mut command: Command, mut artifact: impl FnMut(Artifact)) -> Result<()> {
    // What cargo told us of our own package would make the same build look like another one.
    for (name, _) in std::env::vars_os() {
        if is_of_our_own_run(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("failed to run cargo")?;
    let messages = child.stdout.take().context("failed to listen to cargo")?;
    for line in BufReader::new(messages).lines() {
        let line = line.context("failed to listen to cargo")?;
        match serde_json::from_str::<Artifact>(&line) {
            Ok(built) if built.reason == "compiler-artifact" => artifact(built),
            _ => {}
        }
    }
    if !child.wait().context("failed to run cargo")?.success() {
        lab.check_interrupt()?;
        bail!("cargo says why, above");
    }
    Ok(())
}
