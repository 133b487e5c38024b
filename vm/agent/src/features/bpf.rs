//! Probes with minimal eBPF programs.
//!
//! Numbers and structures are from `include/uapi/linux/bpf.h`. Structures that newer kernels have extended are declared as
//! far as they are used.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

/// Commands of bpf(2).
const PROG_LOAD: libc::c_long = 5;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const RAW_TRACEPOINT_OPEN: libc::c_long = 17;

/// Program and attach types.
const SOCKET_FILTER: u32 = 1;
const TRACING: u32 = 26;
const TRACE_FENTRY: u32 = 24;

/// `r0 = 0; exit`. An instruction consists of an opcode, two registers, a 16-bit offset and a 32-bit immediate.
const RETURN_ZERO: [u64; 2] = [0xb7, 0x95];

/// Attributes of [`PROG_LOAD`].
#[repr(C)]
#[derive(Default)]
struct Program {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log: [u32; 4],
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    btf: [u32; 8],
    line_info_cnt: u32,
    attach_btf_id: u32,
}

/// Attributes of [`RAW_TRACEPOINT_OPEN`]; without a name, the program attaches to its `attach_btf_id`.
#[repr(C)]
struct Attach {
    name: u64,
    prog_fd: u32,
    padding: u32,
}

/// Attributes of [`OBJ_GET_INFO_BY_FD`].
#[repr(C)]
struct Describe {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The beginning of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
struct Description {
    prog_type: u32,
    id: u32,
    tag: [u8; 8],
    jited_prog_len: u32,
    xlated_prog_len: u32,
}

/// Length of a program after JIT compilation, in bytes; 0 if the kernel interprets programs.
pub(super) fn jited_bytes() -> io::Result<u32> {
    let program = load(SOCKET_FILTER, 0, 0)?;
    let mut description = Description::default();
    let mut request = Describe {
        bpf_fd: program.as_raw_fd().cast_unsigned(),
        info_len: size_of::<Description>() as u32,
        info: (&raw mut description) as u64,
    };
    call(OBJ_GET_INFO_BY_FD, &mut request)?;
    Ok(description.jited_prog_len)
}

/// Attaches a program to the entry of a kernel function, and detaches it at once.
pub(super) fn attach_fentry(function: u32) -> io::Result<()> {
    let program = load(TRACING, TRACE_FENTRY, function)?;
    let mut request = Attach { name: 0, prog_fd: program.as_raw_fd().cast_unsigned(), padding: 0 };
    file(call(RAW_TRACEPOINT_OPEN, &mut request)?).map(drop)
}

fn load(prog_type: u32, expected_attach_type: u32, attach_btf_id: u32) -> io::Result<OwnedFd> {
    let mut request = Program {
        prog_type,
        insn_cnt: RETURN_ZERO.len() as u32,
        insns: RETURN_ZERO.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        expected_attach_type,
        attach_btf_id,
        ..Program::default()
    };
    file(call(PROG_LOAD, &mut request)?)
}

fn file(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call<T>(command: libc::c_long, request: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes at most the given size of the structure; the buffers that it points to outlive the
    // call and have the lengths that the structure states.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *request, size_of::<T>()) };
    Ok(Errno::result(result)?)
}
