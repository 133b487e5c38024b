//! The window: memory of the host that this guest reads, in which payloads come. It is the memory of a PCI device, QEMU's
//! ivshmem (QEMU's manual, "Inter-VM Shared Memory device"), and needs no driver: sysfs lets root map it (Linux,
//! `Documentation/PCI/sysfs-pci.rst`). A port brings 4 KiB at a time.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::slice;

use nix::libc::c_void;
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

/// The device by its vendor and device identifiers (QEMU, `docs/specs/ivshmem-spec.txt`), as sysfs prints them.
const DEVICE: [(&str, &str); 2] = [("vendor", "0x1af4"), ("device", "0x1110")];

/// The window, mapped for as long as the agent lives.
pub(crate) struct Window {
    start: NonNull<c_void>,
    length: NonZeroUsize,
}

impl Window {
    /// The one that this machine has, if it has one and its kernel lets it be read.
    pub(crate) fn open() -> Option<Self> {
        let device = find(Path::new("/sys/bus/pci/devices"))?;
        let mapped = map(&device);
        mapped.map_err(|error| eprintln!("hooklab-agent: failed to map {}: {error}", device.display())).ok()
    }

    /// How much fits in, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.length.get() as u64
    }

    /// What is in it: as many bytes from its beginning, or all.
    pub(crate) fn content(&self, bytes: u64) -> &[u8] {
        let length = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.length.get());
        // SAFETY: the mapping is as long and is never undone; the host writes to it, if at all, before it says that something
        // is in it.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast(), length) }
    }
}

fn find(devices: &Path) -> Option<PathBuf> {
    let is = |device: &Path, (name, value): (&str, &str)| {
        fs::read_to_string(device.join(name)).is_ok_and(|found| found.trim() == value)
    };
    let mut devices = fs::read_dir(devices).ok()?.flatten().map(|entry| entry.path());
    devices.find(|device| DEVICE.iter().all(|expected| is(device, *expected)))
}

fn map(device: &Path) -> io::Result<Window> {
    fs::write(device.join("enable"), "1")?;
    // The third of its regions is the memory.
    let memory = File::open(device.join("resource2"))?;
    let length = usize::try_from(memory.metadata()?.len()).ok().and_then(NonZeroUsize::new);
    let length = length.ok_or(io::ErrorKind::UnexpectedEof)?;
    // SAFETY: a new mapping, where there was none, that nobody unmaps.
    let start = unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, &memory, 0) }?;
    Ok(Window { start, length })
}
