//! The start of a machine: of QEMU, or of the agent alone.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::monitor::Monitor;
use super::{Cancellation, Plan, StartError};
use crate::host::{TemporaryDirectory, child};
use crate::qemu::command_line::{Descriptors, MEMORY_MIB, SHARED_MEMORY_MIB};
use crate::qemu::initramfs;
use crate::saved::memory;

/// The host's side of QEMU.
pub(super) struct Qemu {
    pub(super) monitor: Monitor,
    pub(super) memory: File,
    /// The memory region shared with the guest.
    pub(super) shared_memory: File,
    /// How much of it the agent can read, in bytes; none before it is ready.
    pub(super) readable_bytes: u64,
    /// The state that is still to be loaded.
    pub(super) state: Option<File>,
}

/// A machine that was started.
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) qemu: Option<Qemu>,
    pub(super) directory: Option<TemporaryDirectory>,
}

/// Carries out `plan`; `port` is the agent's end of the port.
pub(super) fn start(
    plan: Plan<'_>,
    port: UnixStream,
    cancellation: &Cancellation,
) -> Result<Started, StartError> {
    let (command_line, memory, initramfs, state) = match plan {
        Plan::Boot { command_line, agent, modules } => {
            let initramfs = memory::unnamed()?;
            (&initramfs).write_all(&initramfs::make(agent, modules)?)?;
            let memory = memory::unnamed()?;
            memory.set_len(u64::from(MEMORY_MIB) << 20)?;
            (command_line, memory, Some(initramfs), None)
        }
        Plan::Restore { command_line, saved } => {
            let state = saved.open_state()?;
            (command_line, saved.memory.try_clone()?, None, Some(state))
        }
        Plan::Host { agent } => return start_agent(agent, port),
    };
    let shared_memory = memory::unnamed()?;
    shared_memory.set_len(u64::from(SHARED_MEMORY_MIB) << 20)?;
    let (monitor, far_end) = UnixStream::pair()?;
    let mut command = command_line.command(Descriptors {
        port: port.as_raw_fd(),
        monitor: far_end.as_raw_fd(),
        memory: memory.as_raw_fd(),
        shared_memory: shared_memory.as_raw_fd(),
        initramfs: initramfs.as_ref().map(AsRawFd::as_raw_fd),
    });
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let monitor = Monitor::new(monitor, cancellation.clone())?;
    let qemu = Qemu {
        monitor,
        memory: memory.try_clone()?,
        shared_memory: shared_memory.try_clone()?,
        readable_bytes: 0,
        state,
    };
    let mut kept: Vec<OwnedFd> = vec![port.into(), far_end.into(), memory.into(), shared_memory.into()];
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
    command.spawn().map_err(|source| StartError::Spawn { program, source })
}
