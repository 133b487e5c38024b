//! Runs cargo and listens to what it says it does.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::lab::Lab;

/// Has cargo write [`Artifact`]s, and show the compiler's own messages to the user.
pub(crate) const MESSAGES: &str = "--message-format=json-render-diagnostics";

/// Something that cargo built, or found built (the Cargo book, "JSON messages").
#[derive(Deserialize)]
pub(crate) struct Artifact {
    reason: String,
    /// What was built.
    pub(crate) target: Target,
    /// The manifest of its package.
    pub(crate) manifest_path: PathBuf,
    /// The program, if it is one.
    pub(crate) executable: Option<PathBuf>,
    /// Whether there was nothing to do.
    pub(crate) fresh: bool,
}

/// What of a package was built.
#[derive(Deserialize)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: String,
}

/// Runs `command`, a cargo that was told to use [`MESSAGES`], and shows `artifact` each thing that it has built.
pub(crate) fn run(lab: &Lab, mut command: Command, mut artifact: impl FnMut(Artifact)) -> Result<()> {
    // What cargo told us of our own package would make the same build look like another one.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
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
