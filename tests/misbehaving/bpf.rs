//! The system call `bpf`, as far as the tests need it. Numbers are from the kernel's `include/uapi/linux/bpf.h`.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

/// Commands.
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const PROG_LOAD: libc::c_long = 5;
const OBJ_PIN: libc::c_long = 6;
const PROG_ATTACH: libc::c_long = 8;
const LINK_CREATE: libc::c_long = 28;

/// Kinds of maps.
pub(crate) const ARRAY: u32 = 2;
pub(crate) const PERF_EVENT_ARRAY: u32 = 4;

/// A flag of a perf event array: what is in it stays when whoever put it there is gone.
pub(crate) const PRESERVE_ELEMS: u32 = 1 << 11;

/// Kind of a program that sees the packets of a cgroup, and the one way to attach it that is used here.
const CGROUP_SKB: u32 = 8;
const CGROUP_INET_INGRESS: u32 = 0;

/// A map with one element of four bytes.
pub(crate) fn map(kind: u32, flags: u32) -> OwnedFd {
    // `map_type`, `key_size`, `value_size`, `max_entries`, `map_flags`.
    descriptor(MAP_CREATE, &mut [kind, 4, 4, 1, flags])
}

/// Puts a descriptor into the map's one element.
pub(crate) fn put(map: &OwnedFd, value: &OwnedFd) {
    let (key, value) = (0_u32, value.as_raw_fd());
    let [key_low, key_high] = halves(&raw const key as u64);
    let [value_low, value_high] = halves(&raw const value as u64);
    // `map_fd` (and padding), `key`, `value`, `flags`.
    call(MAP_UPDATE_ELEM, &mut [number(map), 0, key_low, key_high, value_low, value_high, 0, 0]).unwrap();
}

/// A program that lets every packet pass.
pub(crate) fn program() -> OwnedFd {
    // `r0 = 1; exit`.
    let code: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 1, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
    let [code_low, code_high] = halves(code.as_ptr() as u64);
    let [licence_low, licence_high] = halves(c"GPL".as_ptr() as u64);
    // `prog_type`, `insn_cnt`, `insns`, `license`.
    descriptor(PROG_LOAD, &mut [CGROUP_SKB, 2, code_low, code_high, licence_low, licence_high])
}

/// Attaches a program to a cgroup until it is detached.
pub(crate) fn attach(program: &OwnedFd, cgroup: &impl AsRawFd) {
    let cgroup = cgroup.as_raw_fd().cast_unsigned();
    call(PROG_ATTACH, &mut [cgroup, number(program), CGROUP_INET_INGRESS, 0]).unwrap();
}

/// Attaches a program to a cgroup until the link is gone.
pub(crate) fn link(program: &OwnedFd, cgroup: &impl AsRawFd) -> OwnedFd {
    let cgroup = cgroup.as_raw_fd().cast_unsigned();
    descriptor(LINK_CREATE, &mut [number(program), cgroup, CGROUP_INET_INGRESS, 0])
}

pub(crate) fn pin(object: &OwnedFd, path: &str) {
    let path = CString::new(path).unwrap();
    let [low, high] = halves(path.as_ptr() as u64);
    call(OBJ_PIN, &mut [low, high, number(object), 0]).unwrap();
}

fn number(file: &OwnedFd) -> u32 {
    file.as_raw_fd().cast_unsigned()
}

/// An address as the kernel reads it from two fields.
fn halves(address: u64) -> [u32; 2] {
    [address as u32, (address >> 32) as u32]
}

fn descriptor<const N: usize>(command: libc::c_long, attributes: &mut [u32; N]) -> OwnedFd {
    let number = i32::try_from(call(command, attributes).unwrap()).unwrap();
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

fn call<const N: usize>(command: libc::c_long, attributes: &mut [u32; N]) -> Result<libc::c_long, Errno> {
    // SAFETY: the kernel reads and writes no more of the attributes than the given size; what they point to outlives
    // the call in every caller above.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of::<[u32; N]>()) };
    Errno::result(result)
}
