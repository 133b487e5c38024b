//! The machine as virtme-ng composes it: the whole command line of QEMU, without what only virtme-ng's own guest uses.

use std::fs;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::arch::GUEST;
use crate::host::{child, digest, write_whole};
use crate::qemu::accelerator::Accelerator;

/// Stands in a composed command line for the descriptor of a machine's initramfs.
const INITRAMFS: &str = "HOOKLAB-INITRAMFS";

/// Stands in a composed command line for the descriptor that is the host's end of the protocol's port.
const PORT: &str = "HOOKLAB-PORT";

/// Memory of a guest, in MiB.
pub const MEMORY_MIB: u32 = 256;

/// Most that a guest can be given in its window, in MiB: memory of the host that it can read, and no more than read.
/// A power of two, as the region of a PCI device is; what is not used of it takes no room.
pub const WINDOW_MIB: u32 = 64;

/// What QEMU is told to deny itself before a guest runs: obsolete system calls, more privileges, other programs (so
/// states are loaded and saved by descriptor, never by `exec:`), and a say in how it is scheduled (QEMU's manual,
/// "-sandbox").
pub const SANDBOX: [&str; 2] =
    ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"];

/// Why a machine could not be composed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// virtme-ng did not start.
    #[error("failed to start {}", .0.display())]
    Start(PathBuf, #[source] std::io::Error),
    /// virtme-ng refused.
    #[error("failed to compose a machine: {} says: {said}", program.display())]
    Refused {
        /// What was run.
        program: PathBuf,
        /// The last lines it printed.
        said: String,
    },
    /// virtme-ng's answer has no command line of QEMU in it.
    #[error("failed to compose a machine: no command line of QEMU in what {} printed", .0.display())]
    NoCommand(PathBuf),
}

/// The programs that make machines.
#[derive(Debug, Clone)]
pub struct Tools {
    /// virtme-ng's `vng`; its own directory must hold `virtme-run`, too.
    pub vng: PathBuf,
    /// Version of virtme-ng.
    pub vng_version: String,
    /// The QEMU (`arch::Arch::qemu`) that is first on PATH: virtme-ng names it in its answer.
    pub qemu: PathBuf,
    /// First line of what it says to `--version`.
    pub qemu_version: String,
    /// Whether QEMU takes [`SANDBOX`].
    pub sandbox: bool,
}

/// A command line of QEMU with places left for what differs from one start to the next.
#[derive(Debug, Clone)]
pub struct Composed {
    words: Vec<String>,
    /// Changes with virtme-ng, QEMU, the kernel, and what was asked for.
    identity: String,
    accelerator: Accelerator,
    sandbox: bool,
}

/// What a machine is started with: descriptors that QEMU inherits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptors {
    /// A socket: the other end of the port.
    pub(crate) port: RawFd,
    /// A socket: the other end of the monitor.
    pub(crate) monitor: RawFd,
    /// A file of [`MEMORY_MIB`]: the guest's memory. What a machine that waits for a saved state writes to it stays with the
    /// process, so that the file can serve others.
    pub(crate) memory: RawFd,
    /// A file of [`WINDOW_MIB`]: the guest's window.
    pub(crate) window: RawFd,
    /// A file: what the kernel unpacks. A machine that waits for a saved state needs none.
    pub(crate) initramfs: Option<RawFd>,
}

impl Composed {
    /// The command that starts the machine; without an initramfs, one that waits for a state to load.
    pub(crate) fn command(&self, with: Descriptors) -> Command {
        let port = with.port.to_string();
        let initramfs = with.initramfs.map(|initramfs| format!("/dev/fd/{initramfs}"));
        let mut words = self.words.iter().filter_map(|word| match &initramfs {
            Some(path) => Some(word.replace(INITRAMFS, path).replace(PORT, &port)),
            None if word == "-initrd" || word == INITRAMFS => None,
            None => Some(word.replace(PORT, &port)),
        });
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        if self.sandbox {
            command.args(SANDBOX);
        }
        let Descriptors { memory, monitor, window, .. } = with;
        // What is shared is left out of a state (QEMU's "x-ignore-shared"). The window must be, too, in a machine that will
        // be saved; in one that waits for a state, QEMU insists that what is shared be where it was, and a device's
        // memory is nowhere before the state is loaded. A private one shows what the host writes all the same.
        let share = if with.initramfs.is_some() { "on" } else { "off" };
        command
            .arg("-object")
            .arg(format!(
                "memory-backend-file,id=memory,size={MEMORY_MIB}M,mem-path=/dev/fd/{memory},share={share}"
            ))
            .args(["-machine", "memory-backend=memory"])
            .arg("-object")
            .arg(format!(
                "memory-backend-file,id=window,size={WINDOW_MIB}M,mem-path=/dev/fd/{window},share={share},readonly=on"
            ))
            // A machine whose window is another one's can be neither saved nor resumed.
            .args(["-device", "ivshmem-plain,memdev=window,master=on"])
            .args(["-chardev", &format!("socket,id=monitor,fd={monitor}")])
            .args(["-mon", "chardev=monitor,mode=control"]);
        if with.initramfs.is_none() {
            command.args(["-incoming", "defer"]);
        }
        command
    }

    /// All that makes this machine what it is, but for its initramfs.
    pub(crate) fn identity(&self) -> String {
        let processor = match self.accelerator {
            // A guest under KVM has adapted itself to the processor it booted on.
            Accelerator::Kvm => processor(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            Accelerator::Tcg => String::new(),
        };
        format!("{} {:?} {MEMORY_MIB} {WINDOW_MIB} {processor}", self.identity, self.words)
    }
}

/// What `/proc/cpuinfo` says of the first processor, without what changes while it runs.
fn processor(cpuinfo: &str) -> String {
    let first = cpuinfo.split("\n\n").next().unwrap_or_default();
    first.lines().filter(|line| !line.starts_with("cpu MHz")).collect::<Vec<_>>().join("\n")
}

/// Asks virtme-ng for a machine with the kernel `image`, or finds the answer it gave last time below `cache`.
/// `kernel` identifies the image.
///
/// # Errors
/// If virtme-ng cannot be run or does not answer with a command line of QEMU.
pub fn compose(
    tools: &Tools,
    image: &Path,
    kernel: &str,
    accelerator: Accelerator,
    cache: &Path,
) -> Result<Composed, Error> {
    let arguments = arguments(image, accelerator);
    let Tools { vng, vng_version, qemu, qemu_version, .. } = tools;
    let key = format!("{vng:?} {vng_version} {qemu:?} {qemu_version} {kernel} {arguments:?}");
    let name = digest::hex(&digest::sha256([key])[..8]);
    let path = cache.join("composed").join(format!("{name}.json"));
    // The answer is kept as it came: how it is adapted changes with this program.
    let kept: Option<Vec<String>> = fs::read(&path).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let answer = match kept {
        Some(answer) => answer,
        None => {
            let answer = ask(tools, &arguments)?;
            // One that cannot be kept costs the next run another question.
            if let Ok(json) = serde_json::to_vec(&answer) {
                let _ = write_whole(&path, &json);
            }
            answer
        }
    };
    let sandbox = tools.sandbox;
    Ok(Composed { words: adapt(answer, accelerator), identity: name, accelerator, sandbox })
}

/// What virtme-ng is asked for: one vCPU, since threads of TCG race with the kernel's own code patching; neither
/// microvm nor virtiofs, since such a machine could not be saved.
fn arguments(image: &Path, accelerator: Accelerator) -> Vec<String> {
    let devices = format!(
        "-initrd {INITRAMFS} -chardev socket,id=hooklab,fd={PORT} \
         -device virtio-serial-pci,id=hooklab-bus \
         -device virtserialport,bus=hooklab-bus.0,chardev=hooklab,name={}",
        hooklab_protocol::PORT_NAME
    );
    let mut arguments: Vec<String> =
        ["--force-9p", "--disable-microvm", "--cpus", "1", "--dry-run", "--verbose", "--exec", "true"]
            .map(Into::into)
            .to_vec();
    arguments.extend(GUEST.virtme.iter().map(|&word| word.to_owned()));
    if accelerator == Accelerator::Tcg {
        arguments.push("--disable-kvm".into());
    }
    arguments.extend(["--memory".into(), format!("{MEMORY_MIB}M")]);
    arguments.extend(["--append".into(), "rdinit=/init".into(), "--append".into(), "quiet".into()]);
    arguments.extend([format!("--qemu-opts={devices}"), "--run".into(), image.display().to_string()]);
    arguments
}

fn ask(tools: &Tools, arguments: &[String]) -> Result<Vec<String>, Error> {
    let scratch = tempfile::tempdir().map_err(|error| Error::Start(tools.vng.clone(), error))?;
    // vng finds virtme-run on PATH only, and leaves a file behind where temporary files go.
    let bin = tools.vng.parent().unwrap_or(Path::new("/"));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(&tools.vng);
    command.args(arguments).env("PATH", path).env("TMPDIR", scratch.path());
    child::die_with_us(command.current_dir("/").stdin(Stdio::null()), Vec::new());
    let output = command.output().map_err(|error| Error::Start(tools.vng.clone(), error))?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if !output.status.success() {
        let lines: Vec<&str> = said.iter().flat_map(|text| text.lines()).collect();
        let said = lines[lines.len().saturating_sub(8)..].join("\n");
        return Err(Error::Refused { program: tools.vng.clone(), said });
    }
    let is_qemu = |words: &Vec<String>| words.first().is_some_and(|program| program.contains("qemu"));
    said.iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| shell_words::split(line).ok())
        .find(is_qemu)
        .ok_or_else(|| Error::NoCommand(tools.vng.clone()))
}

/// Leaves out what only virtme-ng's own init uses: its ports, which reach for our standard streams, and the
/// share of the host's files, so that a guest of ours sees none of them.
fn adapt(composed: Vec<String>, accelerator: Accelerator) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = composed.into_iter().peekable();
    words.extend(rest.next());
    while let Some(option) = rest.next() {
        // Every option of QEMU begins with a dash; it has at most one value.
        let value = rest.next_if(|word| !word.starts_with('-'));
        if !is_for_virtme(&option, value.as_deref().unwrap_or_default()) {
            let value = value.map(|value| match option.as_str() {
                "-append" => kernel_command_line(&value),
                // "kvm:tcg" would fall back in silence.
                "-cpu" if accelerator == Accelerator::Tcg && value == GUEST.cpu => {
                    GUEST.translated_cpu.into()
                }
                "-machine" if accelerator == Accelerator::Kvm => value.replace("kvm:tcg", "kvm"),
                _ => value,
            });
            words.push(option);
            words.extend(value);
        }
    }
    words
}

fn is_for_virtme(option: &str, value: &str) -> bool {
    match option {
        "-fsdev" => true,
        // virtme-ng's initramfs; ours is named by a path.
        "-initrd" => value.starts_with("/proc/"),
        "-device" => {
            value.starts_with(GUEST.virtme_share)
                || value == "virtio-serial-pci"
                || (value.starts_with("virtserialport") && value.contains("name=virtme."))
        }
        "-chardev" => !value.contains("id=console") && !value.contains("id=hooklab"),
        _ => false,
    }
}

/// Without the words for virtme-ng's init and for a root file system, neither of which there is.
fn kernel_command_line(composed: &str) -> String {
    const NOT_OURS: [&str; 5] = ["virtme", "init=", "root", "nr_open=", "loglevel="];
    let ours = |word: &&str| *word != "ro" && !NOT_OURS.iter().any(|prefix| word.starts_with(prefix));
    composed.split_whitespace().filter(ours).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the form that virtme-ng 1.42 prints, shortened.
    const COMPOSED: &str = "/usr/bin/qemu-system-x86_64 -name virtme-ng -m 256M \
        -fsdev local,id=virtfs5,path=/,readonly=on -device virtio-9p-pci,fsdev=virtfs5,mount_tag=/dev/root \
        -machine accel=kvm:tcg -no-reboot -serial chardev:console \
        -chardev file,id=console,path=/proc/self/fd/2 -chardev stdio,id=stdin,signal=on,mux=off \
        -device virtio-serial-pci -device virtserialport,name=virtme.stdin,chardev=stdin \
        -kernel /k/vmlinuz -append 'virtme_hostname=v nr_open=1 console=ttyS0 panic=-1 rootfstype=9p ro \
        loglevel=7 rdinit=/init quiet init=/venv/virtme-ng-init' -initrd /proc/self/fd/4 \
        -initrd HOOKLAB-INITRAMFS -chardev socket,id=hooklab,fd=HOOKLAB-PORT \
        -device virtio-serial-pci,id=hooklab-bus -device virtserialport,bus=hooklab-bus.0,name=hooklab";

    #[test]
    fn under_tcg_the_processor_claims_no_fast_strings() {
        let composed = || shell_words::split("/usr/bin/qemu-system-x86_64 -cpu max -smp 1").unwrap();
        assert_eq!(adapt(composed(), Accelerator::Tcg)[2], "max,-erms,-fsrm");
        assert_eq!(adapt(composed(), Accelerator::Kvm)[2], "max");
    }

    #[test]
    fn what_is_for_virtme_is_left_out_and_the_rest_stays_in_order() {
        let composed = shell_words::split(COMPOSED).unwrap();
        let words = adapt(composed, Accelerator::Kvm);
        let accelerator = Accelerator::Kvm;
        let machine = Composed { words, identity: String::new(), accelerator, sandbox: true };
        let line = |initramfs| {
            let with = Descriptors { port: 7, monitor: 8, memory: 9, window: 10, initramfs };
            let command = machine.command(with);
            command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        };
        let begin = "-name virtme-ng -m 256M -machine accel=kvm -no-reboot -serial chardev:console \
                     -chardev file,id=console,path=/proc/self/fd/2 -kernel /k/vmlinuz \
                     -append console=ttyS0 panic=-1 rdinit=/init quiet";
        let end = "-chardev socket,id=hooklab,fd=7 -device virtio-serial-pci,id=hooklab-bus \
                   -device virtserialport,bus=hooklab-bus.0,name=hooklab";
        let end = format!("{end} {}", SANDBOX.join(" "));
        let memory = "-object memory-backend-file,id=memory,size=256M,mem-path=/dev/fd/9,share=SHARE \
                    -machine memory-backend=memory \
                    -object memory-backend-file,id=window,size=64M,mem-path=/dev/fd/10,share=SHARE,readonly=on \
                    -device ivshmem-plain,memdev=window,master=on -chardev socket,id=monitor,fd=8 \
                    -mon chardev=monitor,mode=control";
        assert_eq!(
            line(Some(5)),
            format!("{begin} -initrd /dev/fd/5 {end} {}", memory.replace("SHARE", "on"))
        );
        assert_eq!(line(None), format!("{begin} {end} {} -incoming defer", memory.replace("SHARE", "off")));
    }
}
