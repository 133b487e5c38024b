//! eBPF objects, by their ids, and the paths to which they are pinned. Numbers are from `include/uapi/linux/bpf.h`.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;

use super::Watcher;

/// Mount point of bpffs in a guest.
const BPFFS: &str = "/sys/fs/bpf";

/// Commands of bpf(2).
const OBJ_GET: libc::c_long = 7;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// Maximum number of objects of a kind that are listed.
const LISTED: usize = 16;

/// A kind of object, with the commands to iterate over its ids.
struct Kind {
    name: &'static str,
    next_id: libc::c_long,
    fd_by_id: libc::c_long,
    /// Offset of the object's name in `bpf_*_info`; it has 16 bytes.
    name_at: Option<usize>,
    /// Offset in `bpf_*_info` of the flag (32 bits) that marks objects of the kernel itself and of its modules.
    of_kernel_at: Option<usize>,
}

impl Kind {
    const fn new(name: &'static str, next_id: libc::c_long, fd_by_id: libc::c_long) -> Self {
        Self { name, next_id, fd_by_id, name_at: None, of_kernel_at: None }
    }
}

const KINDS: [Kind; 4] = [
    // Links reference programs, and programs reference maps and BTF.
    Kind::new("eBPF link", 31, 30),
    Kind { name_at: Some(64), ..Kind::new("eBPF program", 11, 13) },
    Kind { name_at: Some(24), ..Kind::new("eBPF map", 12, 14) },
    Kind { of_kernel_at: Some(28), ..Kind::new("BTF object", 23, 19) },
];

/// The newest object of each kind. The kernel assigns ids in ascending order and reuses one only after 2^31 others: one
/// system call for each kind shows that there is no newer object.
pub(super) struct Objects {
    newest: [u32; KINDS.len()],
}

impl Objects {
    pub(super) fn now() -> Self {
        let newest = |kind: &Kind| ids_after(kind, 0).last().unwrap_or_default();
        Self { newest: KINDS.each_ref().map(newest) }
    }
}

impl Watcher for Objects {
    fn leaks(&mut self) -> Vec<String> {
        let mut leaks = Vec::new();
        for (kind, newest) in KINDS.iter().zip(&self.newest) {
            leaks.extend(ids_after(kind, *newest).filter_map(|id| describe(kind, id)).take(LISTED));
        }
        leaks
    }
}

fn ids_after(kind: &Kind, start: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(next_id(kind, start), |last| next_id(kind, *last))
}

/// The smallest id larger than `start`; `None` also if the kernel does not support the command.
fn next_id(kind: &Kind, start: u32) -> Option<u32> {
    // `start_id`, `next_id`, `open_flags`.
    let mut attributes = [start, 0, 0];
    bpf(kind.next_id, &mut attributes).ok().map(|_| attributes[1])
}

/// A description of an object for the user. `None` if the object no longer exists, or is BTF of the kernel itself, which
/// gets its id on first use.
fn describe(kind: &Kind, id: u32) -> Option<String> {
    let file = open(kind.fd_by_id, &mut [id, 0, 0]).ok()?;
    let info = info(&file);
    if kind.of_kernel_at.is_some_and(|at| info[at..][..4] != [0; 4]) {
        return None;
    }
    let name = kind.name_at.map(|at| &info[at..at + 16]).unwrap_or_default();
    let name = String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default());
    let name = if name.is_empty() { String::new() } else { format!(" {name:?}") };
    Some(format!("{} {id}{name}", kind.name))
}

/// The first bytes of `bpf_*_info` for an object; zeros on failure.
fn info(file: &OwnedFd) -> [u8; 128] {
    let mut info = [0; 128];
    let address = info.as_mut_ptr() as u64;
    // `bpf_fd`, `info_len`, `info` (64 bits).
    let mut attributes = [file.as_raw_fd().cast_unsigned(), 128, address as u32, (address >> 32) as u32];
    let _ = bpf(OBJ_GET_INFO_BY_FD, &mut attributes);
    info
}

/// Issues a command that returns a descriptor.
fn open<const N: usize>(command: libc::c_long, attributes: &mut [u32; N]) -> Result<OwnedFd, Errno> {
    let number = bpf(command, attributes)?;
    let number = i32::try_from(number).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Calls bpf(2). Buffers to which `attributes` points must be valid, and as large as it states.
fn bpf<const N: usize>(command: libc::c_long, attributes: &mut [u32; N]) -> Result<libc::c_long, Errno> {
    // SAFETY: the kernel reads and writes at most the given size of the attributes, which are initialised; the two callers
    // that pass an address keep the buffer there, in its full size, alive across the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of::<[u32; N]>()) };
    Errno::result(result)
}

/// The files and directories in bpffs.
pub(super) struct Pins {
    before: BTreeSet<PathBuf>,
}

impl Pins {
    pub(super) fn now() -> Self {
        let mut before = BTreeSet::new();
        walk(Path::new(BPFFS), &mut |path| {
            before.insert(path);
        });
        Self { before }
    }

    /// The new ones; the contents of a directory before the directory.
    fn added(&self) -> Vec<PathBuf> {
        let mut new = Vec::new();
        walk(Path::new(BPFFS), &mut |path| {
            if !self.before.contains(&path) {
                new.push(path);
            }
        });
        new
    }
}

impl Watcher for Pins {
    fn leaks(&mut self) -> Vec<String> {
        self.added().iter().map(|path| format!("{}: {}", pinned(path), path.display())).collect()
    }

    fn remove(&mut self) {
        for path in self.added() {
            // The next check finds what could not be removed.
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        }
    }
}

fn walk(directory: &Path, found: &mut impl FnMut(PathBuf)) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), found);
        }
        found(entry.path());
    }
}

/// Describes what is pinned to `path`.
fn pinned(path: &Path) -> String {
    let Ok(name) = CString::new(path.as_os_str().as_bytes()) else { return "pinned".into() };
    let address = name.as_ptr() as u64;
    // `pathname` (64 bits), `bpf_fd`, `file_flags`.
    let Ok(file) = open(OBJ_GET, &mut [address as u32, (address >> 32) as u32, 0, 0]) else {
        return "in bpffs".into();
    };
    let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
    match link.to_string_lossy().strip_prefix("anon_inode:bpf") {
        Some("-prog") => "pinned eBPF program".into(),
        Some("-map") => "pinned eBPF map".into(),
        Some(_) => "pinned eBPF link".into(),
        None => "pinned".into(),
    }
}
