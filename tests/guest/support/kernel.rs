//! Which eBPF objects the kernel has, by their ids.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;

/// Commands of the system call `bpf`, from the kernel's `include/uapi/linux/bpf.h`.
const PROG_GET_NEXT_ID: libc::c_long = 11;
const MAP_GET_NEXT_ID: libc::c_long = 12;
const BTF_GET_NEXT_ID: libc::c_long = 23;
const LINK_GET_NEXT_ID: libc::c_long = 31;

/// How long the kernel may take to free what nobody holds any more.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to look; the kernel tells nobody.
const STEP: Duration = Duration::from_millis(1);

/// Ids of programs, maps, links and type descriptions.
#[derive(Debug)]
pub(crate) struct KernelObjects {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
    btf: BTreeSet<u32>,
}

impl KernelObjects {
    pub(crate) fn now() -> Self {
        Self {
            programs: ids(PROG_GET_NEXT_ID),
            maps: ids(MAP_GET_NEXT_ID),
            links: ids(LINK_GET_NEXT_ID),
            btf: ids(BTF_GET_NEXT_ID),
        }
    }

    /// What is here and was not there before.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            programs: &self.programs - &before.programs,
            maps: &self.maps - &before.maps,
            links: &self.links - &before.links,
            btf: &self.btf - &before.btf,
        }
    }

    fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.maps.is_empty() && self.links.is_empty() && self.btf.is_empty()
    }

    /// Whether there is all that an attached program consists of, so that its absence later means something.
    pub(crate) fn has_attached_program(&self) -> bool {
        // Before 5.15 a tracepoint is attached without a link.
        let links = !self.links.is_empty() || !has_tracepoint_links();
        links && !self.programs.is_empty() && !self.maps.is_empty() && !self.btf.is_empty()
    }

    /// Waits until nothing is left that was not there before: the kernel frees some of it later.
    ///
    /// # Panics
    ///
    /// If something stays.
    pub(crate) fn wait_for_none_since(before: &Self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = Self::now().since(before);
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left in the kernel: {left:?}");
            thread::sleep(STEP);
        }
    }
}

/// Whether the running kernel is 5.15 or newer.
fn has_tracepoint_links() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs is mounted");
    let mut numbers = release.split(['.', '-']).map_while(|part| part.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(5), Some(15))
}

/// Walks one of the kernel's lists from its beginning.
fn ids(command: libc::c_long) -> BTreeSet<u32> {
    let mut ids = BTreeSet::new();
    let mut last = 0;
    while let Some(next) = next_id(command, last) {
        ids.insert(next);
        last = next;
    }
    ids
}

/// The smallest id that is larger than `start`.
fn next_id(command: libc::c_long, start: u32) -> Option<u32> {
    /// The part of `union bpf_attr` that these commands use.
    #[repr(C)]
    struct Attributes {
        start_id: u32,
        next_id: u32,
        open_flags: u32,
    }
    let mut attributes = Attributes { start_id: start, next_id: 0, open_flags: 0 };
    // SAFETY: the kernel reads and writes no more than the given size, and all of it is ours and initialised.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attributes, size_of::<Attributes>()) };
    match Errno::result(result) {
        Ok(_) => Some(attributes.next_id),
        Err(Errno::ENOENT) => None,
        Err(error) => panic!("bpf command {command} failed: {error}"),
    }
}
