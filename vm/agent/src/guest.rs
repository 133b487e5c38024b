//! What a guest needs before tests can run in it: mounts, modules, switches, and the port to the host.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hooklab_protocol::PORT_NAME;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

use crate::Error;

/// File system type, where it goes, and whether a guest is unusable without it.
const MOUNTS: [(&str, &str, bool); 9] = [
    ("devtmpfs", "/dev", true),
    ("proc", "/proc", true),
    ("sysfs", "/sys", true),
    ("tmpfs", "/tmp", true),
    ("tmpfs", "/payload", true),
    ("tracefs", "/sys/kernel/tracing", false),
    ("debugfs", "/sys/kernel/debug", false),
    ("securityfs", "/sys/kernel/security", false),
    ("bpf", "/sys/fs/bpf", false),
];

/// Modules of the initramfs, named so that their alphabetical order is the order to load them in.
const MODULES: &str = "/modules";

/// How long the port may take to appear once its drivers are there.
const PORT_PATIENCE: Duration = Duration::from_secs(20);

/// Mounts, loads modules and sets switches.
pub(crate) fn prepare() -> Result<(), Error> {
    for (kind, target, needed) in MOUNTS {
        let mounted = make_mount(kind, target);
        match mounted {
            Err(error) if needed => return Err(error),
            // A kernel without tracefs or bpffs still runs tests that need neither; the others say what they miss.
            Err(error) => eprintln!("hooklab-agent: {error}"),
            Ok(()) => {}
        }
    }
    load_modules()?;
    // Waiting out ordinary RCU grace periods is most of what detaching a program costs on an idle machine
    // (kernel documentation, RCU/checklist: "rcu_expedited").
    if let Err(error) = fs::write("/sys/kernel/rcu_expedited", "1") {
        eprintln!("hooklab-agent: failed to expedite RCU: {error}");
    }
    Ok(())
}

fn make_mount(kind: &str, target: &str) -> Result<(), Error> {
    let what = || format!("mount {kind} on {target}");
    // Folders below /sys belong to the kernel: they are there, or the file system is not built in.
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

/// Opens the port to the host; waits for it, since the host announces ports after the driver has come up.
pub(crate) fn open_port() -> Result<File, Error> {
    let deadline = Instant::now() + PORT_PATIENCE;
    loop {
        if let Some(device) = find_port(Path::new("/sys/class/virtio-ports")) {
            let opened = OpenOptions::new().read(true).write(true).open(&device);
            return opened.map_err(Error::system(format!("open {}", device.display())));
        }
        if Instant::now() > deadline {
            return Err(Error::NoPort(PORT_NAME));
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

/// A port reads as ended while nobody on the host is connected to it; this waits until somebody is
/// (Linux, `drivers/char/virtio_console.c`, `port_fops_read`).
pub(crate) struct PatientReader(pub(crate) File);

impl Read for PatientReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Ok(0) if !buffer.is_empty() => sleep(Duration::from_millis(2)),
                other => return other,
            }
        }
    }
}

/// Switches the machine off; does not return if all is well.
pub(crate) fn power_off() -> Result<(), Error> {
    match reboot(RebootMode::RB_POWER_OFF) {
        Err(errno) => Err(Error::system("power off")(errno)),
        Ok(never) => match never {},
    }
}
