//! eBPF objects, by their ids, and the paths they are pinned to. Numbers are from the kernel's
//! `include/uapi/linux/bpf.h`.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;

use super::Watcher;

/// Where a guest has bpffs.
const BPFFS: &str = "/sys/fs/bpf";

/// Commands of the system call.
const OBJ_GET: libc::c_long = 7;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// Objects that are named, at most.
const NAMED: usize = 16;

/// A kind of object, how its ids are walked, and where `bpf_*_info` tells of it.
struct Kind {
    name: &'static str,
    next_id: libc::c_long,
    fd_by_id: libc::c_long,
    /// Where in its description the kernel puts the object's name, of 16 bytes.
    name_at: Option<usize>,
}

const KINDS: [Kind; 4] = [
    // Links hold programs, programs hold maps and type descriptions.
    Kind { name: "link", next_id: 31, fd_by_id: 30, name_at: None },
    Kind { name: "program", next_id: 11, fd_by_id: 13, name_at: Some(64) },
    Kind { name: "map", next_id: 12, fd_by_id: 14, name_at: Some(24) },
    Kind { name: "type description", next_id: 23, fd_by_id: 19, name_at: None },
];

/// Place of `kernel_btf` in `struct bpf_btf_info`: the description is one of the kernel's own or of a module.
const KERNEL_BTF_AT: usize = 28;

/// The newest object of each kind. Ids are given out in ascending order and come again only after 2^31 others, so
/// one system call for each kind says that there is nothing newer.
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
    fn left(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        for (kind, newest) in KINDS.iter().zip(&self.newest) {
            left.extend(ids_after(kind, *newest).filter_map(|id| describe(kind, id)).take(NAMED));
        }
        left
    }
}

fn ids_after(kind: &Kind, start: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(next_id(kind, start), |last| next_id(kind, *last))
}

/// The smallest id larger than `start`; none also where the kernel does not know the command.
fn next_id(kind: &Kind, start: u32) -> Option<u32> {
    // `start_id`, `next_id`, `open_flags`.
    let mut attributes = [start, 0, 0];
    bpf(kind.next_id, &mut attributes).ok().map(|_| attributes[1])
}

/// An object for a person; `None` if it has gone, or is one of the kernel's own: it describes its types when they
/// are first asked for.
fn describe(kind: &Kind, id: u32) -> Option<String> {
    let file = open(kind.fd_by_id, &mut [id, 0, 0]).ok()?;
    let info = info(&file);
    if kind.name == "type description" && info[KERNEL_BTF_AT..][..4] != [0; 4] {
        return None;
    }
    let name = kind.name_at.map(|at| &info[at..at + 16]).unwrap_or_default();
    let name = String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default());
    let name = if name.is_empty() { String::new() } else { format!(" {name:?}") };
    Some(format!("eBPF {} {id}{name}", kind.name))
}

/// The beginning of what the kernel tells of an object; zeros where it tells nothing.
fn info(file: &OwnedFd) -> [u8; 128] {
    let mut info = [0; 128];
    let address = info.as_mut_ptr() as u64;
    // `bpf_fd`, `info_len`, `info` (64 bits).
    let mut attributes = [file.as_raw_fd().cast_unsigned(), 128, address as u32, (address >> 32) as u32];
    let _ = bpf(OBJ_GET_INFO_BY_FD, &mut attributes);
    info
}

/// A command that makes a descriptor.
fn open<const N: usize>(command: libc::c_long, attributes: &mut [u32; N]) -> Result<OwnedFd, Errno> {
    let number = bpf(command, attributes)?;
    let number = i32::try_from(number).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The system call. What `attributes` points to must live, and be as large as it says.
fn bpf<const N: usize>(command: libc::c_long, attributes: &mut [u32; N]) -> Result<libc::c_long, Errno> {
    // SAFETY: the kernel reads and writes no more of the attributes than the given size, all of it ours and
    // initialised; the two callers with an address in them keep what is there alive across the call, in its full size.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of::<[u32; N]>()) };
    Errno::result(result)
}

/// Everything in bpffs.
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

    /// What is new; the content of a folder before the folder.
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
    fn left(&mut self) -> Vec<String> {
        self.added().iter().map(|path| format!("{}: {}", pinned(path), path.display())).collect()
    }

    fn clear(&mut self) {
        for path in self.added() {
            // What cannot be removed is seen again.
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        }
    }
}

fn walk(folder: &Path, found: &mut impl FnMut(PathBuf)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), found);
        }
        found(entry.path());
    }
}

/// What is pinned to `path`.
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
