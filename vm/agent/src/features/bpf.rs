//! The smallest eBPF programs that tell whether the kernel takes them. Numbers and structures are from
//! `include/uapi/linux/bpf.h`; of a structure that newer kernels have made longer they take the beginning.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

/// Commands.
const PROG_LOAD: libc::c_long = 5;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const RAW_TRACEPOINT_OPEN: libc::c_long = 17;

/// Types of programs and of attachments.
const SOCKET_FILTER: u32 = 1;
const TRACING: u32 = 26;
const TRACE_FENTRY: u32 = 24;

/// `r0 = 0; exit`: an instruction is its code, two registers, an offset of 16 and a value of 32 bits.
const RETURN_ZERO: [u64; 2] = [0xb7, 0x95];

/// For [`PROG_LOAD`].
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

/// For [`RAW_TRACEPOINT_OPEN`]; without a name it attaches where the program itself says.
#[repr(C)]
struct Attach {
    name: u64,
    prog_fd: u32,
    padding: u32,
}

/// For [`OBJ_GET_INFO_BY_FD`].
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

/// How long a loaded program is in the machine's own instructions; 0 if it is interpreted.
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

/// Attaches to the entry of a function of the kernel, and detaches at once.
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
    // SAFETY: the kernel has just given us this file, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call<T>(command: libc::c_long, request: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes no more than the given size of the structure, and what its pointers point to
    // lives across the call and is as long as the structure says.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *request, size_of::<T>()) };
    Ok(Errno::result(result)?)
}
