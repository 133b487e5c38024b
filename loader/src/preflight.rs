//! Checks before any loader runs: permissions, memory limits, tracefs and its tracepoints.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use crate::{Error, Failure, HookKind, Program};

/// Numbers of the capabilities, from the kernel's `include/uapi/linux/capability.h`.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Where distributions mount tracefs: its own place, and the older one within debugfs.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Checks whether this process may load programs, since the kernel's own message says less.
///
/// # Errors
///
/// [`Error::NotPermitted`], or [`Error::System`] if `/proc` cannot be read.
pub fn check_capabilities() -> Result<(), Error> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|source| Error::System { what: "read /proc/self/status", source })?;
    if may_load(effective_capabilities(&status)) { Ok(()) } else { Err(Error::NotPermitted) }
}

/// Lifts the limit on locked memory, against which kernels before 5.11 account programs and maps.
pub fn lift_memory_limit() {
    // Later kernels do not need it. Where it fails on an older one, the load fails with a message.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

/// Finds the directory where tracefs is mounted.
///
/// # Errors
///
/// [`Error::NoTracefs`], or [`Error::System`] if this process may not read it.
pub fn find_tracefs() -> Result<PathBuf, Error> {
    let mut missing = Error::NoTracefs;
    for directory in TRACEFS.map(Path::new) {
        // The directory exists, empty, when nothing is mounted on it.
        match directory.join("events").try_exists() {
            Ok(true) => return Ok(directory.to_owned()),
            Ok(false) => {}
            // Usually tracefs belongs to root, and CAP_BPF does not open it.
            Err(source) => missing = Error::System { what: "look into tracefs", source },
        }
    }
    Err(missing)
}

/// Whether any of the programs is for a tracepoint, which libraries look up in tracefs.
pub fn needs_tracefs(programs: &[Program]) -> bool {
    programs.iter().any(|program| program.hook.kind == HookKind::Tracepoint)
}

/// Finds the programs for tracepoints that the kernel does not have.
///
/// # Errors
///
/// [`Error::System`] if tracefs cannot be read.
pub fn missing_tracepoints(tracefs: &Path, programs: &[Program]) -> Result<Vec<Failure>, Error> {
    let mut missing = Vec::new();
    for program in programs.iter().filter(|program| !program.hook.is_optional) {
        let Some((category, event)) = program.hook.tracepoint() else { continue };
        match tracefs.join("events").join(category).join(event).join("id").symlink_metadata() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let error =
                    Error::NoTracepoint { program: program.name.clone(), point: program.hook.clone() };
                missing.push(Failure { program: program.clone(), error });
            }
            Err(source) => return Err(Error::System { what: "look up the tracepoint in tracefs", source }),
        }
    }
    Ok(missing)
}

/// The bit set after `CapEff:`, empty if there is no such line.
fn effective_capabilities(status: &str) -> u64 {
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

/// CAP_SYS_ADMIN is enough by itself; since Linux 5.8 so are the two narrower ones together.
fn may_load(capabilities: u64) -> bool {
    let has = |capability: u32| capabilities & (1 << capability) != 0;
    has(CAP_SYS_ADMIN) || (has(CAP_BPF) && has(CAP_PERFMON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_status() {
        let status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000000c000000000\nCapBnd:\t00ff\n";
        assert_eq!(effective_capabilities(status), 0xc0_0000_0000);
        assert_eq!(effective_capabilities("Name:\tx\n"), 0);
    }

    #[test]
    fn either_the_wide_or_both_narrow_ones() {
        assert!(may_load(1 << CAP_SYS_ADMIN));
        assert!(may_load(1 << CAP_BPF | 1 << CAP_PERFMON));
        assert!(!may_load(1 << CAP_BPF));
        assert!(!may_load(1 << CAP_PERFMON));
        assert!(!may_load(0));
    }
}
