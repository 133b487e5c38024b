//! What root in a guest finds of the host: no way to its files, no network.

use std::ffi::OsString;
use std::fs::{self, File};
use std::num::NonZeroUsize;

use nix::mount::{MsFlags, mount};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

/// Kinds of virtio devices (Virtual I/O Device Specification, "Device Types"): only the console's, with its ports.
const CONSOLE: &str = "0x0003\n";

/// Numbers of classes of PCI devices begin like this (PCI Code and ID Assignment Specification).
const STORAGE: &str = "0x01";
const NETWORK: &str = "0x02";

/// The device of the shared memory region (QEMU, `docs/specs/ivshmem-spec.txt`).
const SHARED_MEMORY: &str = "0x1110\n";

/// Has the kernel look for what was plugged in since it booted: a restored machine may have more than it was saved with.
fn look_again() {
    fs::write("/sys/bus/pci/rescan", "1").unwrap();
}

fn names(directory: &str) -> Vec<OsString> {
    fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().file_name()).collect()
}

fn read(directory: &str, name: &OsString, file: &str) -> String {
    fs::read_to_string(format!("{directory}/{}/{file}", name.display())).unwrap()
}

#[test]
fn no_share_of_the_host_s_files() {
    look_again();
    let directory = "/sys/bus/virtio/devices";
    let devices = names(directory);
    assert!(!devices.is_empty());
    for device in &devices {
        assert_eq!(read(directory, device, "device"), CONSOLE, "{}", device.display());
    }
    fs::create_dir_all("/tmp/host").unwrap();
    for tag in ["/dev/root", "ROOTFS", "virtme.initmount0", "host"] {
        for (kind, options) in [("9p", Some("trans=virtio,version=9p2000.L")), ("virtiofs", None)] {
            let mounted = mount(Some(tag), "/tmp/host", Some(kind), MsFlags::empty(), options);
            assert!(mounted.is_err(), "{tag} as {kind}");
        }
    }
}

#[test]
fn no_disk_of_the_host_s() {
    look_again();
    let directory = "/sys/bus/pci/devices";
    for device in names(directory) {
        let class = read(directory, &device, "class");
        // The chipset brings a controller; nothing is connected to it.
        let controller = class.starts_with("0x0106");
        assert!(controller || !class.starts_with(STORAGE), "{}: {class}", device.display());
    }
    for disk in names("/sys/block") {
        // A drive without a medium says so by a size that cannot be read from.
        let path = format!("/dev/{}", disk.display());
        let content = File::open(&path).and_then(|mut file| {
            let mut first = [0; 512];
            std::io::Read::read(&mut file, &mut first)
        });
        assert!(matches!(content, Err(_) | Ok(0)), "{path} can be read");
    }
}

#[test]
fn no_network() {
    look_again();
    assert_eq!(names("/sys/class/net"), ["lo"]);
    let directory = "/sys/bus/pci/devices";
    for device in names(directory) {
        let class = read(directory, &device, "class");
        assert!(!class.starts_with(NETWORK), "{}: {class}", device.display());
    }
}

#[test]
fn no_port_but_the_agent_s() {
    let directory = "/sys/class/virtio-ports";
    let ports: Vec<String> = names(directory).iter().map(|port| read(directory, port, "name")).collect();
    assert_eq!(ports, ["hooklab\n"]);
}

#[test]
fn the_shared_memory_region_is_there_and_cannot_be_written_to() {
    let directory = "/sys/bus/pci/devices";
    let regions: Vec<OsString> = names(directory)
        .into_iter()
        .filter(|device| read(directory, device, "device") == SHARED_MEMORY)
        .collect();
    let [region] = &regions[..] else { panic!("{regions:?}") };
    let memory = format!("{directory}/{}/resource2", region.display());
    let memory = File::options().read(true).write(true).open(memory).unwrap();
    let length = NonZeroUsize::new(4096).unwrap();
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping, where there was none.
    let start = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, &memory, 0) }.unwrap();
    let first = start.cast::<u8>().as_ptr();
    // SAFETY: within the mapping, which nobody removes.
    let before = unsafe { first.read_volatile() };
    assert_ne!(before, 0, "no payload came in it");
    // SAFETY: as above.
    unsafe { first.write_volatile(!before) };
    // SAFETY: as above.
    assert_eq!(unsafe { first.read_volatile() }, before);
}
