//! Preparation of a guest: mounts, modules, settings, and the port to the host.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hooklab_protocol::{self as protocol, PORT_NAME};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

use crate::{Error, loopback};

/// File system types, where they are mounted, and whether the guest is unusable without them.
const MOUNTS: [(&str, &str, bool); 12] = [
    ("devtmpfs", "/dev", true),
    ("proc", "/proc", true),
    ("sysfs", "/sys", true),
    ("tmpfs", "/tmp", true),
    ("tmpfs", "/payload", true),
    ("tracefs", "/sys/kernel/tracing", false),
    ("debugfs", "/sys/kernel/debug", false),
    ("securityfs", "/sys/kernel/security", false),
    ("bpf", "/sys/fs/bpf", false),
    ("cgroup2", "/sys/fs/cgroup", false),
    ("devpts", "/dev/pts", false),
    ("tmpfs", "/dev/shm", false),
];

/// The modules of the initramfs; their file names sort in load order.
const MODULES: &str = "/modules";

/// How long the port may take to appear after its drivers were loaded.
const PORT_TIMEOUT: Duration = Duration::from_secs(20);

/// Mounts file systems, loads modules, expedites RCU, and brings the loopback interface up.
pub(crate) fn prepare() -> Result<(), Error> {
    for (kind, target, required) in MOUNTS {
        match make_mount(kind, target) {
            Err(error) if required => return Err(error),
            // A kernel without tracefs or bpffs can still run the tests that need neither.
            Err(error) => eprintln!("hooklab-agent: {}", protocol::with_causes(&error)),
            Ok(()) => {}
        }
    }
    load_modules()?;
    // On an idle machine, most of the time to detach a program passes in waiting for normal RCU grace periods
    // (kernel documentation, RCU/checklist: "rcu_expedited").
    if let Err(error) = fs::write("/sys/kernel/rcu_expedited", "1") {
        eprintln!("hooklab-agent: failed to expedite RCU: {error}");
    }
    // Nothing else configures it; up, it has its addresses. A kernel without networking can still run tests.
    if let Err(error) = loopback::bring_up() {
        eprintln!("hooklab-agent: failed to bring the loopback interface up: {error}");
    }
    Ok(())
}

fn make_mount(kind: &str, target: &str) -> Result<(), Error> {
    let what = || format!("mount {kind} on {target}");
    // The kernel creates the mount points below /sys; a missing one means that it lacks the file system.
    if !target.starts_with("/sys/") {
        fs::create_dir_all(target).map_err(Error::system(what()))?;
    }
    mount(Some(kind), target, Some(kind), MsFlags::empty(), None::<&str>).map_err(Error::system(what()))
}

fn load_modules() -> Result<(), Error> {
    let Ok(entries) = fs::read_dir(MODULES) else { return Ok(()) };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let what = || format!("load {}", path.display());
        let file = File::open(&path).map_err(Error::system(what()))?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(errno) => return Err(Error::system(what())(errno)),
        }
    }
    Ok(())
}

/// Opens the port to the host. Waits for it to appear, since the host announces ports after the driver has started.
pub(crate) fn open_port() -> Result<File, Error> {
    let deadline = Instant::now() + PORT_TIMEOUT;
    loop {
        if let Some(device) = find_port(Path::new("/sys/class/virtio-ports")) {
            let opened = OpenOptions::new().read(true).write(true).open(&device);
            return opened.map_err(Error::system(format!("open {}", device.display())));
        }
        if Instant::now() > deadline {
            return Err(Error::NoPort { name: PORT_NAME, waited: PORT_TIMEOUT });
        }
        sleep(Duration::from_millis(2));
    }
}

fn find_port(class: &Path) -> Option<PathBuf> {
    fs::read_dir(class).ok()?.flatten().find_map(|entry| {
        let name = fs::read_to_string(entry.path().join("name")).ok()?;
        (name.trim() == PORT_NAME).then(|| Path::new("/dev").join(entry.file_name()))
    })
}

/// A reader of the port that waits for the host to connect. Until then the port itself reports the end of the file
/// (Linux, `drivers/char/virtio_console.c`, `port_fops_read`).
pub(crate) struct PortReader(pub(crate) File);

impl Read for PortReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Ok(0) if !buffer.is_empty() => sleep(Duration::from_millis(2)),
                other => return other,
            }
        }
    }
}

/// Powers the machine off; returns only on failure.
pub(crate) fn power_off() -> Result<(), Error> {
    match reboot(RebootMode::RB_POWER_OFF) {
        Err(errno) => Err(Error::system("power off")(errno)),
        Ok(never) => match never {},
    }
}
