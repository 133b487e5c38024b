//! Opens a kprobe the way loaders do: as a perf event (`perf_event_open(2)`; kernel 4.17 or later).

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

/// `PERF_FLAG_FD_CLOEXEC`.
const CLOSE_ON_EXEC: libc::c_ulong = 8;

/// The beginning of `struct perf_event_attr` (`include/uapi/linux/perf_event.h`), as far as its second version went.
#[repr(C)]
#[derive(Default)]
struct Event {
    kind: u32,
    size: u32,
    config: u64,
    sampling: [u64; 3],
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    /// The function's name.
    config1: u64,
    /// The place in the function.
    config2: u64,
}

/// Puts a kprobe on a function and takes it away at once.
pub(super) fn open_kprobe(function: &str) -> io::Result<()> {
    let kind = fs::read_to_string("/sys/bus/event_source/devices/kprobe/type")?;
    let kind = kind.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
    let function = CString::new(function)?;
    let event = Event {
        kind,
        size: size_of::<Event>() as u32,
        config1: function.as_ptr() as u64,
        ..Event::default()
    };
    let (any_process, cpu, no_group) = (-1, 0, -1);
    // SAFETY: the kernel reads no more than the size that the structure gives, and its name ends in a zero; both live
    // across the call.
    let result = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw const event, any_process, cpu, no_group, CLOSE_ON_EXEC)
    };
    let fd = i32::try_from(Errno::result(result)?).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just given us this file, and nobody else knows of it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}
