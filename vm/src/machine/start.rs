//! The start of a machine: what QEMU, or the agent alone, is given.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::monitor::Monitor;
use super::{Halt, Plan, StartError};
use crate::host::{TemporaryDirectory, child};
use crate::qemu::command_line::{Descriptors, MEMORY_MIB, WINDOW_MIB};
use crate::qemu::initramfs;
use crate::saved::memory;

/// What there is of QEMU on the host.
pub(super) struct Qemu {
    pub(super) monitor: Monitor,
    pub(super) memory: File,
    /// What the guest can read.
    pub(super) window: File,
    /// How much of the window its agent can take a payload from, in bytes; none before it has said so.
    pub(super) window_bytes: u64,
    /// What it has still to load.
    pub(super) state: Option<File>,
}

/// What was started.
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) qemu: Option<Qemu>,
    pub(super) directory: Option<TemporaryDirectory>,
}

/// Starts what `plan` says, with `port` to talk to the agent.
pub(super) fn start(plan: Plan<'_>, port: UnixStream, halt: &Halt) -> Result<Started, StartError> {
    let (composed, memory, initramfs, state) = match plan {
        Plan::Boot { composed, agent, modules } => {
            let initramfs = memory::unnamed()?;
            (&initramfs).write_all(&initramfs::make(agent, modules)?)?;
            let memory = memory::unnamed()?;
            memory.set_len(u64::from(MEMORY_MIB) << 20)?;
            (composed, memory, Some(initramfs), None)
        }
        Plan::Resume { composed, saved } => {
            let state = saved.state_from_its_beginning()?;
            (composed, saved.memory.try_clone()?, None, Some(state))
        }
        Plan::Host { agent } => return start_agent(agent, port),
    };
    let window = memory::unnamed()?;
    window.set_len(u64::from(WINDOW_MIB) << 20)?;
    let (monitor, far_end) = UnixStream::pair()?;
    let mut command = composed.command(Descriptors {
        port: port.as_raw_fd(),
        monitor: far_end.as_raw_fd(),
        memory: memory.as_raw_fd(),
        window: window.as_raw_fd(),
        initramfs: initramfs.as_ref().map(AsRawFd::as_raw_fd),
    });
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let monitor = Monitor::new(monitor, halt.clone())?;
    let qemu =
        Qemu { monitor, memory: memory.try_clone()?, window: window.try_clone()?, window_bytes: 0, state };
    let mut kept: Vec<OwnedFd> = vec![port.into(), far_end.into(), memory.into(), window.into()];
    kept.extend(initramfs.map(OwnedFd::from));
    let child = spawn(&mut command, kept)?;
    Ok(Started { child, qemu: Some(qemu), directory: None })
}

/// Starts the agent as an ordinary process.
fn start_agent(agent: &Path, port: UnixStream) -> Result<Started, StartError> {
    let directory = TemporaryDirectory::new()?;
    let output = port.try_clone()?;
    let mut command = Command::new(agent);
    command.arg("--stdio").arg(directory.path());
    command.stdin(OwnedFd::from(port)).stdout(OwnedFd::from(output));
    let child = spawn(&mut command, Vec::new())?;
    Ok(Started { child, qemu: None, directory: Some(directory) })
}

/// Starts `command` in a process group of its own: an interrupt from the terminal is ours to handle.
fn spawn(command: &mut Command, kept: Vec<OwnedFd>) -> Result<Child, StartError> {
    command.stderr(Stdio::piped()).process_group(0);
    child::die_with_us(command, kept);
    let program = command.get_program().to_string_lossy().into_owned();
    command.spawn().map_err(|error| StartError::Spawn(program, error))
}
