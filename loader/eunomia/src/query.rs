//! The programs that a process has attached, as the kernel reports them.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int};
use std::fs;
use std::io;

use aya::programs::loaded_programs;
use libbpf_rs::libbpf_sys::bpf_task_fd_query;
use nix::errno::Errno;

/// The maximum length of a program's name in the kernel, in bytes (`BPF_OBJ_NAME_LEN` without the NUL).
const LONGEST_NAME: usize = 15;
/// Size of the buffer for a tracepoint's name, in bytes.
const TRACEPOINT: usize = 256;

/// A program that is attached.
#[derive(Debug)]
pub(crate) struct Attached {
    /// The kernel's id of the program.
    pub(crate) id: u32,
    /// The function's name, truncated by the kernel.
    name: String,
    /// The tracepoint's name, without its category; `None` if it is attached by a link of another kind.
    tracepoint: Option<String>,
}

impl Attached {
    /// Whether it is this function, and at this tracepoint if its hook is one.
    pub(crate) fn is(&self, function: &str, tracepoint: Option<&str>) -> bool {
        let kept = function.get(..LONGEST_NAME).unwrap_or(function);
        self.name == kept
            && tracepoint.is_none_or(|tracepoint| self.tracepoint.as_deref() == Some(tracepoint))
    }
}

/// Lists what a process has attached through file descriptors, as libbpf does.
///
/// # Errors
///
/// The kernel's error; `EPERM` without CAP_SYS_ADMIN.
pub(crate) fn attached_by(pid: u32) -> io::Result<Vec<Attached>> {
    let mut names = HashMap::new();
    for program in loaded_programs() {
        let program = program.map_err(io::Error::other)?;
        names.insert(program.id(), program.name_as_str().unwrap_or_default().to_owned());
    }
    let mut attached = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let Some(fd) = entry?.file_name().to_str().and_then(|fd| fd.parse().ok()) else { continue };
        let queried = query(pid, fd)?.map(|(id, tracepoint)| (id, Some(tracepoint)));
        if let Some((id, tracepoint)) = queried.or_else(|| Some((program_of_link(pid, fd)?, None))) {
            let name = names.get(&id).cloned().unwrap_or_default();
            attached.push(Attached { id, name, tracepoint });
        }
    }
    Ok(attached)
}

/// The id of the program of a link (the kernel's `bpf_link_show_fdinfo`); `None` for other files.
fn program_of_link(pid: u32, fd: c_int) -> Option<u32> {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
    // A program of its own has the second, too.
    info.lines().find(|line| line.starts_with("link_id:"))?;
    let id = info.lines().find_map(|line| line.strip_prefix("prog_id:"));
    id?.trim().parse().ok()
}

/// The program that a file descriptor of a process has attached, and its tracepoint; `None` for other files
/// (bpf(2), `BPF_TASK_FD_QUERY`).
fn query(pid: u32, fd: c_int) -> io::Result<Option<(u32, String)>> {
    let pid = c_int::try_from(pid).map_err(io::Error::other)?;
    let mut name = [0u8; TRACEPOINT];
    let mut name_length = TRACEPOINT as u32;
    let (mut id, mut kind, mut offset, mut address) = (0, 0, 0, 0);
    let name_pointer = name.as_mut_ptr().cast::<c_char>();
    // SAFETY: all pointers are to variables that outlive the call, and `name_length` is the length of `name`.
    let error = unsafe {
        bpf_task_fd_query(
            pid,
            fd,
            0,
            name_pointer,
            &raw mut name_length,
            &raw mut id,
            &raw mut kind,
            &raw mut offset,
            &raw mut address,
        )
    };
    match Errno::from_raw(-error) {
        // Probes are reported as well, with empty names.
        _ if error == 0 => {
            let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
            Ok(Some((id, name.to_string_lossy().into_owned())))
        }
        Errno::EPERM => Err(Errno::EPERM.into()),
        _ => Ok(None),
    }
}
