//! The shared memory region: memory of the host that the guest can read, and that holds the payload.
//!
//! The guest sees it as the memory of a PCI device, QEMU's ivshmem (QEMU's manual, "Inter-VM Shared Memory device"). It needs
//! no driver: sysfs lets root map it (Linux, `Documentation/PCI/sysfs-pci.rst`). A port transfers only 4 KiB at a time.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::slice;

use nix::libc::c_void;
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

/// Vendor and device identifiers (QEMU, `docs/specs/ivshmem-spec.txt`), as sysfs prints them.
const DEVICE: [(&str, &str); 2] = [("vendor", "0x1af4"), ("device", "0x1110")];

/// The region, mapped for the agent's lifetime.
pub(crate) struct SharedMemory {
    start: NonNull<c_void>,
    length: NonZeroUsize,
}

impl SharedMemory {
    /// Maps the machine's region; `None` if it has none, or if its kernel does not allow mapping it.
    pub(crate) fn open() -> Option<Self> {
        let device = find(Path::new("/sys/bus/pci/devices"))?;
        let mapped = map(&device);
        mapped.map_err(|error| eprintln!("hooklab-agent: failed to map {}: {error}", device.display())).ok()
    }

    /// Size of the region, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.length.get() as u64
    }

    /// The first `bytes` of the region, or all of it if it is smaller.
    pub(crate) fn content(&self, bytes: u64) -> &[u8] {
        let length = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.length.get());
        // SAFETY: the mapping is at least this long and is never unmapped; the host finishes writing to it before it sends the
        // request that leads here.
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

fn map(device: &Path) -> io::Result<SharedMemory> {
    fs::write(device.join("enable"), "1")?;
    // BAR 2 is the memory.
    let memory = File::open(device.join("resource2"))?;
    let length = usize::try_from(memory.metadata()?.len()).ok().and_then(NonZeroUsize::new);
    let length = length.ok_or(io::ErrorKind::UnexpectedEof)?;
    // SAFETY: the kernel chooses an unused address range, and nothing unmaps it.
    let start = unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, &memory, 0) }?;
    Ok(SharedMemory { start, length })
}
