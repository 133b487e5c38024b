//! Opens a kprobe as loaders do, as a perf event (`perf_event_open(2)`; kernel 4.17 or later).

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

/// `PERF_FLAG_FD_CLOEXEC`.
const CLOSE_ON_EXEC: libc::c_ulong = 8;

/// The first fields of `struct perf_event_attr` (`include/uapi/linux/perf_event.h`), up to `PERF_ATTR_SIZE_VER1`.
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
    /// Address of the function's name.
    config1: u64,
    /// Offset in the function.
    config2: u64,
}

/// Attaches a kprobe to a function, and removes it at once.
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
    // SAFETY: the kernel reads at most the size that the structure states, and the name is zero-terminated; both outlive the
    // call.
    let result = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw const event, any_process, cpu, no_group, CLOSE_ON_EXEC)
    };
    let fd = i32::try_from(Errno::result(result)?).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}
