//! Places for programs whose sections name none: interfaces, cgroups, sockets, clocks.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt::BindToDevice,
};

use crate::{Error, Place, Program};

/// How often a program for `perf_event` runs on each busy CPU, in times per second: not a divisor of what else the kernel
/// does regularly.
pub(crate) const FREQUENCY: u64 = 99;

/// The error for a program whose hook needs something that is not there.
pub(crate) fn not_attachable(program: &Program, reason: impl Into<String>) -> Error {
    let (name, section) = (program.name.clone(), program.section.clone());
    Error::NotAttachable { program: name, section, reason: reason.into() }
}

/// The index of the user's network interface.
///
/// # Errors
///
/// [`Error::NotAttachable`] if there is none of that name.
pub(crate) fn interface(program: &Program, place: &Place) -> Result<i32, Error> {
    let index = nix::net::if_::if_nametoindex(place.interface.as_str());
    let refuse =
        |error| not_attachable(program, format!("there is no interface `{}`: {error}", place.interface));
    index
        .map_err(io::Error::from)
        .and_then(|index| i32::try_from(index).map_err(io::Error::other))
        .map_err(refuse)
}

/// The user's file for uprobes.
///
/// # Errors
///
/// [`Error::NotAttachable`] if the user names none.
pub(crate) fn probed_file<'a>(program: &Program, place: &'a Place) -> Result<&'a Path, Error> {
    let missing = || not_attachable(program, "its section names no file; name one with --path");
    place.path.as_deref().ok_or_else(missing)
}

/// Opens the user's cgroup, or the root of cgroup2.
///
/// # Errors
///
/// [`Error::NotAttachable`] if there is none.
pub(crate) fn cgroup(program: &Program, place: &Place) -> Result<File, Error> {
    const NOT_MOUNTED: &str = "cgroup2 is not mounted; run `mount -t cgroup2 none /sys/fs/cgroup`";
    let path = match &place.cgroup {
        Some(path) => path.clone(),
        None => cgroup2_root(&fs::read_to_string("/proc/self/mounts").unwrap_or_default())
            .ok_or_else(|| not_attachable(program, NOT_MOUNTED))?,
    };
    let refuse =
        |error| not_attachable(program, format!("failed to open the cgroup `{}`: {error}", path.display()));
    File::open(&path).map_err(refuse)
}

/// The first place where cgroup2 is mounted, from the content of `/proc/self/mounts`.
fn cgroup2_root(mounts: &str) -> Option<PathBuf> {
    let columns = mounts.lines().map(|line| line.split(' '));
    let paths = columns.filter_map(|mut columns| {
        let path = columns.nth(1)?;
        (columns.next()? == "cgroup2").then(|| PathBuf::from(unescape(path)))
    });
    paths.into_iter().next()
}

/// Undoes what the kernel does to white space and backslashes in paths of mounts: `\040` is a space.
fn unescape(path: &str) -> String {
    let mut text = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let digits = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match digits {
            Some(byte) => {
                text.push(char::from(byte));
                rest = &after[3..];
            }
            None => {
                text.push('\\');
                rest = after;
            }
        }
    }
    text + rest
}

/// A socket that gets all packets of an interface or, where the kernel has no such sockets, those of TCP for this machine.
///
/// # Errors
///
/// The kernel's error.
pub(crate) fn packet_socket(interface: &str) -> io::Result<OwnedFd> {
    let open = |family, protocol| socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol);
    let opened = open(AddressFamily::Packet, SockProtocol::EthAll)
        .or_else(|_| open(AddressFamily::Inet, SockProtocol::Tcp))?;
    setsockopt(&opened, BindToDevice, &interface.into())?;
    Ok(opened)
}

/// Makes a program the filter of a socket.
///
/// # Errors
///
/// The kernel's error.
pub(crate) fn attach_to_socket(socket: &OwnedFd, program: BorrowedFd<'_>) -> io::Result<()> {
    let program = program.as_raw_fd();
    let size = libc::socklen_t::try_from(size_of_val(&program)).map_err(io::Error::other)?;
    // SAFETY: the kernel reads a file descriptor of that size, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_BPF,
            (&raw const program).cast(),
            size,
        )
    };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// Opens a clock of each CPU that is online, which counts its time and samples it.
///
/// # Errors
///
/// The kernel's error.
pub(crate) fn cpu_clocks() -> io::Result<Vec<OwnedFd>> {
    online_cpus()?.into_iter().map(cpu_clock).collect()
}

/// The numbers of the CPUs that are online.
///
/// # Errors
///
/// The kernel's error.
pub(crate) fn online_cpus() -> io::Result<Vec<i32>> {
    Ok(cpus(&fs::read_to_string("/sys/devices/system/cpu/online")?))
}

/// Reads a list such as `0-3,5`.
fn cpus(list: &str) -> Vec<i32> {
    /// More than any machine has, and few enough to count.
    const MOST: usize = 8192;
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<i32>().ok()?..=last.parse::<i32>().ok()?)
    });
    ranges.flatten().take(MOST).collect()
}

fn cpu_clock(cpu: i32) -> io::Result<OwnedFd> {
    /// `struct perf_event_attr` as it was at first, which every kernel takes (`PERF_ATTR_SIZE_VER0`).
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        kind: u32,
        size: u32,
        config: u64,
        sample_frequency: u64,
        sample_type: u64,
        read_format: u64,
        flags: u64,
        wakeup_events: u32,
        breakpoint_type: u32,
        config1: u64,
    }
    const PERF_TYPE_SOFTWARE: u32 = 1;
    const PERF_COUNT_SW_CPU_CLOCK: u64 = 0;
    /// The bit `freq`: `sample_frequency` is one, and not a period.
    const IS_FREQUENCY: u64 = 1 << 10;
    const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;

    let attributes = Attributes {
        kind: PERF_TYPE_SOFTWARE,
        size: u32::try_from(size_of::<Attributes>()).map_err(io::Error::other)?,
        config: PERF_COUNT_SW_CPU_CLOCK,
        sample_frequency: FREQUENCY,
        flags: IS_FREQUENCY,
        ..Attributes::default()
    };
    let (every_process, no_group): (libc::pid_t, libc::c_int) = (-1, -1);
    // SAFETY: the kernel reads as many bytes of the attributes as `size` says, which is all of them.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            every_process,
            cpu,
            no_group,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    let fd = Errno::result(fd).map_err(io::Error::from)?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel just made this file descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup2_is_found_among_the_mounts() {
        let mounts = "proc /proc proc rw 0 0\ncgroup /sys/fs/cgroup/x cgroup rw 0 0\n\
                      none /my\\040cgroup cgroup2 rw 0 0\nnone /other cgroup2 rw 0 0\n";
        assert_eq!(cgroup2_root(mounts), Some(PathBuf::from("/my cgroup")));
        assert_eq!(cgroup2_root("cgroup2 /x tmpfs rw 0 0\n"), None);
        assert_eq!(unescape("a\\b\\0"), "a\\b\\0");
    }

    #[test]
    fn lists_of_cpus() {
        assert_eq!(cpus("0\n"), [0]);
        assert_eq!(cpus("0-2,5,7-8\n"), [0, 1, 2, 5, 7, 8]);
        assert_eq!(cpus("\n"), [0; 0]);
        assert_eq!(cpus("0-2147483647").len(), 8192);
    }
}
