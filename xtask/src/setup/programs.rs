//! What is on this machine: programs, libraries, headers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hooklab_vm::compose::SANDBOX;
use xshell::{Cmd, Shell, cmd};

/// The emulator.
const QEMU: &str = "qemu-system-x86_64";

/// The program of that name on PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian leaves these out of an ordinary user's PATH; what looks there by itself must not count as missing.
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let candidates = std::env::split_paths(&path).chain(system).map(|folder| folder.join(name));
    candidates.into_iter().find(|candidate| is_program(candidate))
}

/// Whether it is a file that may be run.
pub(crate) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// What `program arguments` prints, if it can be run and succeeds.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let shell = Shell::new().ok()?;
    cmd!(shell, "{program} {arguments...}").quiet().ignore_stderr().read().ok()
}

/// Runs `command`; where it fails, the end of what it printed is part of the error.
pub(crate) fn run(command: Cmd<'_>) -> Result<()> {
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
pub(crate) fn library(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(output("cc", &[&format!("-print-file-name={name}")])?);
    (path.is_absolute() && path.exists()).then(|| path.canonicalize().unwrap_or(path))
}

/// The folder of the static libraries that libbpf needs.
pub(crate) fn static_library_folder() -> Result<PathBuf> {
    let library = library("libelf.a").context("failed to find libelf.a: run `cargo xtask setup`")?;
    Ok(library.parent().unwrap_or(Path::new("/")).to_owned())
}

/// What a static libelf needs linked beside zlib; newer ones compress with zstd, too. Named as archives: rustc has
/// the linker prefer shared libraries again by the time it comes to these, and a static program with one crashes.
pub(crate) fn static_link_arguments() -> Vec<String> {
    let libraries = output("pkg-config", &["--static", "--libs-only-l", "libelf"]).unwrap_or_default();
    let names = libraries.split_whitespace().filter_map(|word| word.strip_prefix("-l"));
    names.filter(|name| !["elf", "z"].contains(name)).map(|name| format!("-l:lib{name}.a")).collect()
}

/// Where QEMU is, the first line of what it says of itself, and whether it and the host's kernel know its sandbox.
pub(crate) fn qemu() -> Result<(PathBuf, String, bool)> {
    let path =
        find_program(QEMU).with_context(|| format!("failed to find {QEMU}: run `cargo xtask setup`"))?;
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
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
