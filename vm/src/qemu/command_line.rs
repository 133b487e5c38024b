//! QEMU's command line as virtme-ng prints it, without what only virtme-ng's own guest uses.

use std::fs;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::accelerator::Accelerator;
use crate::arch::GUEST;
use crate::host::{FileError, child, digest, write_whole};

/// Stands for the descriptor of a machine's initramfs.
const INITRAMFS: &str = "HOOKLAB-INITRAMFS";

/// Stands for the descriptor that is QEMU's end of the protocol's port.
const PORT: &str = "HOOKLAB-PORT";

/// Memory of a guest, in MiB.
pub const MEMORY_MIB: u32 = 256;

/// Size of the memory region that the host shares with a guest, which can only read it, in MiB. A power of two, as the
/// region of a PCI device is; unused pages of it take no memory.
pub const SHARED_MEMORY_MIB: u32 = 64;

/// What QEMU denies itself before a guest runs: obsolete system calls, more privileges, other programs (so states are
/// loaded and saved by descriptor, never by `exec:`), and changes to its scheduling (QEMU's manual, "-sandbox").
pub const SANDBOX: [&str; 2] =
    ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"];

/// Why there is no command line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// virtme-ng did not start.
    #[error("failed to start {}", .0.display())]
    Start(PathBuf, #[source] std::io::Error),
    /// virtme-ng failed.
    #[error("{} failed to make a QEMU command line; it printed:\n{output}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// The last lines it printed.
        output: String,
    },
    /// virtme-ng printed something else.
    #[error("{} printed no QEMU command line", .0.display())]
    NoCommand(PathBuf),
    /// There is no temporary directory for virtme-ng.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The programs that make machines.
#[derive(Debug, Clone)]
pub struct Tools {
    /// virtme-ng's `vng`; its own directory must hold `virtme-run`, too.
    pub vng: PathBuf,
    /// Version of virtme-ng.
    pub vng_version: String,
    /// The QEMU (`arch::Arch::qemu`) that is first on PATH: virtme-ng puts it into the command line.
    pub qemu: PathBuf,
    /// First line of what QEMU prints for `--version`.
    pub qemu_version: String,
    /// Whether QEMU takes [`SANDBOX`].
    pub sandbox: bool,
}

/// A command line of QEMU, with placeholders for what differs from one start to the next.
#[derive(Debug, Clone)]
pub struct CommandLine {
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
    /// A file of [`MEMORY_MIB`]: the guest's memory. A restored machine maps it privately, so that others can be restored
    /// from the same file.
    pub(crate) memory: RawFd,
    /// A file of [`SHARED_MEMORY_MIB`]: what the host shares with the guest.
    pub(crate) shared_memory: RawFd,
    /// A file: what the kernel unpacks. A machine that waits for a saved state needs none.
    pub(crate) initramfs: Option<RawFd>,
}

impl CommandLine {
    /// Asks virtme-ng for a machine with the kernel `image`, or takes its last answer from `cache`. `kernel` identifies the
    /// image.
    ///
    /// # Errors
    /// If virtme-ng cannot be run or prints no command line of QEMU.
    pub fn from_virtme_ng(
        tools: &Tools,
        image: &Path,
        kernel: &str,
        accelerator: Accelerator,
        cache: &Path,
    ) -> Result<Self, Error> {
        let arguments = arguments(image, accelerator);
        let Tools { vng, vng_version, qemu, qemu_version, .. } = tools;
        let key = format!("{vng:?} {vng_version} {qemu:?} {qemu_version} {kernel} {arguments:?}");
        let name = digest::hex(&digest::sha256([key])[..8]);
        let path = cache.join("command-lines").join(format!("{name}.json"));
        // Cached as printed: how it is adapted changes with this program.
        let cached = fs::read(&path).ok().and_then(|json| serde_json::from_slice(&json).ok());
        let printed: Vec<String> = match cached {
            Some(printed) => printed,
            None => {
                let printed = ask(tools, &arguments)?;
                // If it cannot be cached, the next run asks again.
                if let Ok(json) = serde_json::to_vec(&printed) {
                    let _ = write_whole(&path, &json);
                }
                printed
            }
        };
        let words = adapt(printed, accelerator);
        Ok(Self { words, identity: name, accelerator, sandbox: tools.sandbox })
    }

    /// The same machine whose kernel gets `text` at the end of its own command line. A state that was saved without it is
    /// another machine's.
    #[must_use]
    pub fn with_append(mut self, text: &str) -> Self {
        let option = self.words.iter().position(|word| word == "-append");
        match option.and_then(|at| self.words.get_mut(at + 1)) {
            Some(value) => *value = format!("{value} {text}"),
            None => self.words.extend(["-append".into(), text.into()]),
        }
        self
    }

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
        let Descriptors { memory, monitor, shared_memory, .. } = with;
        // A saved state leaves out what is mapped as shared (QEMU's "x-ignore-shared"). That must hold for the region
        // shared with the host, too, in a machine that will be saved. In one that waits for a state it must not: QEMU
        // insists that shared memory be mapped at the saved address, and a device's memory is mapped only once the state
        // is loaded. A private mapping shows what the host writes all the same.
        let share = if with.initramfs.is_some() { "on" } else { "off" };
        command
            .arg("-object")
            .arg(format!(
                "memory-backend-file,id=memory,size={MEMORY_MIB}M,mem-path=/dev/fd/{memory},share={share}"
            ))
            .args(["-machine", "memory-backend=memory"])
            .arg("-object")
            .arg(format!(
                "memory-backend-file,id=shared,size={SHARED_MEMORY_MIB}M,mem-path=/dev/fd/{shared_memory},share={share},readonly=on"
            ))
            // Without "master=on" a machine can be neither saved nor restored.
            .args(["-device", "ivshmem-plain,memdev=shared,master=on"])
            .args(["-chardev", &format!("socket,id=monitor,fd={monitor}")])
            .args(["-mon", "chardev=monitor,mode=control"]);
        if with.initramfs.is_none() {
            command.args(["-incoming", "defer"]);
        }
        command
    }

    /// Everything that makes this machine what it is, except for its initramfs.
    pub(crate) fn identity(&self) -> String {
        let processor = match self.accelerator {
            // A guest under KVM adapts itself to the processor it boots on.
            Accelerator::Kvm => processor(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            Accelerator::Tcg => String::new(),
        };
        format!("{} {:?} {MEMORY_MIB} {SHARED_MEMORY_MIB} {processor}", self.identity, self.words)
    }
}

/// What `/proc/cpuinfo` says of the first processor, without what changes while it runs.
fn processor(cpuinfo: &str) -> String {
    let first = cpuinfo.split("\n\n").next().unwrap_or_default();
    first.lines().filter(|line| !line.starts_with("cpu MHz")).collect::<Vec<_>>().join("\n")
}

/// The arguments for virtme-ng: one vCPU, since threads of TCG race with the kernel's own code patching; neither microvm
/// nor virtiofs, since such a machine could not be saved.
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
    let failed = FileError::of("create a directory in", &std::env::temp_dir());
    let temporary = tempfile::tempdir().map_err(failed)?;
    // vng finds virtme-run on PATH only, and leaves a file in the directory for temporary files.
    let bin = tools.vng.parent().unwrap_or(Path::new("/"));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(&tools.vng);
    command.args(arguments).env("PATH", path).env("TMPDIR", temporary.path());
    child::die_with_us(command.current_dir("/").stdin(Stdio::null()), Vec::new());
    let output = command.output().map_err(|error| Error::Start(tools.vng.clone(), error))?;
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let mut lines = printed.iter().flat_map(|text| text.lines());
    if !output.status.success() {
        let lines: Vec<&str> = lines.collect();
        let output = lines[lines.len().saturating_sub(8)..].join("\n");
        return Err(Error::Failed { program: tools.vng.clone(), output });
    }
    let is_qemu = |words: &Vec<String>| words.first().is_some_and(|program| program.contains("qemu"));
    lines
        .find_map(|line| shell_words::split(line).ok().filter(is_qemu))
        .ok_or_else(|| Error::NoCommand(tools.vng.clone()))
}

/// Removes what only virtme-ng's own init uses: its ports, which are attached to our standard streams, and the share of
/// the host's files, so that our guest sees none of them.
fn adapt(printed: Vec<String>, accelerator: Accelerator) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = printed.into_iter().peekable();
    words.extend(rest.next());
    while let Some(option) = rest.next() {
        // Every option of QEMU begins with a dash; it has at most one value.
        let value = rest.next_if(|word| !word.starts_with('-'));
        if !is_for_virtme(&option, value.as_deref().unwrap_or_default()) {
            let value = value.map(|value| match option.as_str() {
                "-append" => kernel_command_line(&value),
                "-cpu" if accelerator == Accelerator::Tcg && value == GUEST.cpu => {
                    GUEST.translated_cpu.into()
                }
                // "kvm:tcg" would fall back silently.
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
        // virtme-ng's initramfs; ours is a placeholder.
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

/// The kernel's command line without the words for virtme-ng's init and for a root file system: our guest has neither.
fn kernel_command_line(printed: &str) -> String {
    const NOT_OURS: [&str; 5] = ["virtme", "init=", "root", "nr_open=", "loglevel="];
    let ours = |word: &&str| *word != "ro" && !NOT_OURS.iter().any(|prefix| word.starts_with(prefix));
    printed.split_whitespace().filter(ours).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the form that virtme-ng 1.42 prints, shortened.
    const PRINTED: &str = "/usr/bin/qemu-system-x86_64 -name virtme-ng -m 256M \
        -fsdev local,id=virtfs5,path=/,readonly=on -device virtio-9p-pci,fsdev=virtfs5,mount_tag=/dev/root \
        -machine accel=kvm:tcg -no-reboot -serial chardev:console \
        -chardev file,id=console,path=/proc/self/fd/2 -chardev stdio,id=stdin,signal=on,mux=off \
        -device virtio-serial-pci -device virtserialport,name=virtme.stdin,chardev=stdin \
        -kernel /k/vmlinuz -append 'virtme_hostname=v nr_open=1 console=ttyS0 panic=-1 rootfstype=9p ro \
        loglevel=7 rdinit=/init quiet init=/venv/virtme-ng-init' -initrd /proc/self/fd/4 \
        -initrd HOOKLAB-INITRAMFS -chardev socket,id=hooklab,fd=HOOKLAB-PORT \
        -device virtio-serial-pci,id=hooklab-bus -device virtserialport,bus=hooklab-bus.0,name=hooklab";

    #[test]
    fn under_tcg_the_processor_reports_no_fast_strings() {
        let printed = || shell_words::split("/usr/bin/qemu-system-x86_64 -cpu max -smp 1").unwrap();
        assert_eq!(adapt(printed(), Accelerator::Tcg)[2], "max,-erms,-fsrm");
        assert_eq!(adapt(printed(), Accelerator::Kvm)[2], "max");
    }

    #[test]
    fn what_the_user_appends_comes_last_and_makes_another_machine() {
        let words = adapt(shell_words::split(PRINTED).unwrap(), Accelerator::Tcg);
        let plain = CommandLine { words, identity: "x".into(), accelerator: Accelerator::Tcg, sandbox: true };
        let appended = plain.clone().with_append("lsm=lockdown,bpf root=/dev/x");
        let at = appended.words.iter().position(|word| word == "-append").unwrap();
        let expected = "console=ttyS0 panic=-1 rdinit=/init quiet lsm=lockdown,bpf root=/dev/x";
        assert_eq!(appended.words[at + 1], expected);
        assert_eq!(appended.words.len(), plain.words.len());
        assert_ne!(appended.identity(), plain.identity());
        assert_eq!(plain.clone().identity(), plain.identity());
    }

    #[test]
    fn what_virtme_ng_alone_uses_is_removed_and_the_rest_keeps_its_order() {
        let printed = shell_words::split(PRINTED).unwrap();
        let words = adapt(printed, Accelerator::Kvm);
        let accelerator = Accelerator::Kvm;
        let machine = CommandLine { words, identity: String::new(), accelerator, sandbox: true };
        let line = |initramfs| {
            let with = Descriptors { port: 7, monitor: 8, memory: 9, shared_memory: 10, initramfs };
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
                    -object memory-backend-file,id=shared,size=64M,mem-path=/dev/fd/10,share=SHARE,readonly=on \
                    -device ivshmem-plain,memdev=shared,master=on -chardev socket,id=monitor,fd=8 \
                    -mon chardev=monitor,mode=control";
        assert_eq!(
            line(Some(5)),
            format!("{begin} -initrd /dev/fd/5 {end} {}", memory.replace("SHARE", "on"))
        );
        assert_eq!(line(None), format!("{begin} {end} {} -incoming defer", memory.replace("SHARE", "off")));
    }
}
