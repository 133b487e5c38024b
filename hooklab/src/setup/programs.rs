//! What is on this machine: programs, libraries, headers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hooklab_vm::qemu::command_line::SANDBOX;
use xshell::{Cmd, Shell, cmd};

/// The emulator.
pub(super) const QEMU: &str = "qemu-system-x86_64";

/// The program of that name on PATH.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian leaves these out of an ordinary user's PATH; what looks there by itself must not count as missing.
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let candidates = std::env::split_paths(&path).chain(system).map(|directory| directory.join(name));
    candidates.into_iter().find(|candidate| is_program(candidate))
}

/// Whether it is a file that may be run.
pub fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// What `program arguments` prints, if it can be run and succeeds.
pub fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let shell = Shell::new().ok()?;
    cmd!(shell, "{program} {arguments...}").quiet().ignore_stderr().read().ok()
}

/// Runs `command`; where it fails, the end of what it printed is part of the error.
pub fn run(command: Cmd<'_>) -> Result<()> {
    let shown = command.to_string();
    let output =
        command.quiet().ignore_status().output().with_context(|| format!("failed to run `{shown}`"))?;
    if output.status.success() {
        return Ok(());
    }
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let lines: Vec<&str> = said.trim_end().lines().collect();
    bail!("`{shown}` failed:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"))
}

/// A file that the C compiler finds where libraries are (gcc's manual, `-print-file-name`: a name that is not found
/// comes back as it was).
pub fn library(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(output("cc", &[&format!("-print-file-name={name}")])?);
    (path.is_absolute() && path.exists()).then(|| path.canonicalize().unwrap_or(path))
}

/// Where QEMU is, the first line of what it says of itself, and whether it and the host's kernel know its sandbox.
pub(super) fn qemu() -> Result<(PathBuf, String, bool)> {
    let path = find_program(QEMU).with_context(|| format!("failed to find {QEMU}: run `hooklab setup`"))?;
    let program = path.to_string_lossy();
    let first = |said: String| said.lines().next().unwrap_or_default().to_owned();
    let filters = Path::new("/proc/sys/kernel/seccomp/actions_avail").exists();
    let sandboxed = || output(&program, &[SANDBOX[0], SANDBOX[1], "--version"]).map(first);
    match filters.then(sandboxed).flatten() {
        Some(version) => Ok((path.clone(), version, true)),
        None => {
            let said =
                output(&program, &["--version"]).with_context(|| format!("failed to run {program}"))?;
            Ok((path.clone(), first(said), false))
        }
    }
}

/// The cargo that runs us, or the one on PATH.
pub fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
