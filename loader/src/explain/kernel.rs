//! What the kernel says of programs and maps that it has.

use std::ffi::c_void;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Duration;
use std::{fs, mem, ptr};

use libbpf_rs::libbpf_sys;
use nix::time::{ClockId, clock_gettime};

/// What the kernel knows of a program.
pub(super) struct ProgramInfo {
    /// Instructions that the verifier processed; told since 5.16.
    pub(super) verified_instructions: Option<u32>,
    /// Bytes of machine code; none where the program is interpreted.
    pub(super) jited_bytes: Option<u32>,
    /// When the kernel began to load it, since the boot.
    pub(super) load_time: Duration,
}

/// Asks the kernel about a program; none if this is not one.
pub(super) fn program(fd: BorrowedFd<'_>) -> Option<ProgramInfo> {
    // SAFETY: the struct has integers and arrays of them alone, for which zeros are values.
    let mut info: libbpf_sys::bpf_prog_info = unsafe { mem::zeroed() };
    let mut length = u32::try_from(size_of_val(&info)).ok()?;
    // SAFETY: both pointers are to locals, and `length` is the size of the first; the kernel writes no more, and no
    // arrays, since the struct asks for none.
    let status = unsafe {
        libbpf_sys::bpf_prog_get_info_by_fd(fd.as_raw_fd(), &raw mut info, ptr::from_mut(&mut length))
    };
    let some = |number: u32| Some(number).filter(|number| *number > 0);
    (status == 0 && info.id > 0).then(|| ProgramInfo {
        verified_instructions: some(info.verified_insns),
        jited_bytes: some(info.jited_prog_len),
        load_time: Duration::from_nanos(info.load_time),
    })
}

/// Time since the boot, by the clock of [`ProgramInfo::load_time`].
pub(super) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// Bytes that the kernel accounts for a map; none if it does not say.
pub(super) fn map_bytes(fd: BorrowedFd<'_>) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    text.lines().find_map(|line| line.strip_prefix("memlock:"))?.trim().parse().ok()
}

/// Whether the kernel calls LSM programs; none if it does not say.
pub(super) fn lsm_is_active() -> Option<bool> {
    let active = fs::read_to_string("/sys/kernel/security/lsm").ok()?;
    Some(active.trim().split(',').any(|name| name == "bpf"))
}

/// Whether the kernel has a program type; none if it does not say.
pub(super) fn has_program_type(kind: u32) -> Option<bool> {
    // SAFETY: no options are passed.
    answer(unsafe { libbpf_sys::libbpf_probe_bpf_prog_type(kind, ptr::null::<c_void>()) })
}

/// Whether the kernel has a map type; none if it does not say.
pub(super) fn has_map_type(kind: u32) -> Option<bool> {
    // SAFETY: no options are passed.
    answer(unsafe { libbpf_sys::libbpf_probe_bpf_map_type(kind, ptr::null::<c_void>()) })
}

fn answer(probed: i32) -> Option<bool> {
    match probed {
        0 => Some(false),
        1.. => Some(true),
        _ => None,
    }
}
