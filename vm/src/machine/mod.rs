//! A machine: one QEMU process with one kernel, or the agent on the running kernel, and the messages to and from its agent.

mod cancellation;
mod error;
mod listen;
mod monitor;
mod start;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hooklab_protocol::{
    self as protocol, AfterRestore, ENTROPY_BYTES, Features, Place, Report, Request, Run, TimeOfDay,
};

use self::error::quoted;
use self::listen::{Heard, forward_console, forward_reports};
use self::start::{Qemu, Started, start};
use crate::host::TemporaryDirectory;
use crate::qemu::command_line::{CommandLine, SHARED_MEMORY_MIB};
use crate::qemu::console::SharedTail;
use crate::saved::{Saved, memory};

pub use cancellation::Cancellation;
pub use error::{MachineError, MonitorError, ProtocolError, StartError};
pub(crate) use listen::create_log;

/// Interval at which waits check for cancellation.
const CANCEL_INTERVAL: Duration = Duration::from_millis(50);

/// How long a machine may take to end after its kernel panicked, or after it was told to power off.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// How long a guest may leave what it is sent unread.
const SEND_PATIENCE: Duration = Duration::from_secs(60);

/// Messages that may wait to be read, each of up to 4 MiB; a guest that sends faster is slowed down.
const BACKLOG: usize = 8;

/// How to start a machine.
#[derive(Debug, Clone, Copy)]
pub enum Plan<'a> {
    /// QEMU boots a kernel.
    Boot {
        /// QEMU's command line.
        command_line: &'a CommandLine,
        /// The agent's static binary.
        agent: &'a Path,
        /// Modules to load before the port exists, in order.
        modules: &'a [PathBuf],
    },
    /// QEMU restores a saved machine.
    Restore {
        /// QEMU's command line.
        command_line: &'a CommandLine,
        /// The saved machine.
        saved: &'a Saved,
    },
    /// The agent runs on the running kernel.
    Host {
        /// The agent's static binary.
        agent: &'a Path,
    },
}

/// A running machine. Dropping it kills it and removes its directory.
pub struct Machine {
    child: Child,
    port: UnixStream,
    /// `None` for the agent on the running kernel.
    qemu: Option<Qemu>,
    heard: Receiver<Heard>,
    tail: SharedTail,
    started: Instant,
    cancellation: Cancellation,
    _directory: Option<TemporaryDirectory>,
}

impl Machine {
    /// Starts a machine, and appends its console to `log`, if that can be written. [`Machine::wait_until_ready`] waits for
    /// its agent.
    ///
    /// # Errors
    /// If something is missing on the host; what fails in the machine is a [`MachineError`] of another method.
    pub fn start(plan: Plan<'_>, log: Option<&Path>, cancellation: Cancellation) -> Result<Self, StartError> {
        // The user has been warned of a log that cannot be written.
        let log = log.and_then(|path| create_log(path).ok());
        let tail = SharedTail::default();
        let (sender, heard) = sync_channel(BACKLOG);
        let started = Instant::now();
        let (port, far_end) = UnixStream::pair()?;
        port.set_write_timeout(Some(CANCEL_INTERVAL))?;
        let reports = port.try_clone()?;
        let Started { mut child, qemu, directory } = start(plan, far_end, &cancellation)?;
        let listener = sender.clone();
        thread::spawn(move || forward_reports(reports, &listener));
        if let Some(console) = child.stderr.take() {
            let tail = tail.clone();
            thread::spawn(move || forward_console(console, log, &tail, &sender));
        }
        Ok(Self { child, port, qemu, heard, tail, started, cancellation, _directory: directory })
    }

    /// Connects to QEMU's monitor. If there is a saved state, restores it and tells the agent so. Takes at most `limit`.
    fn connect(&mut self, limit: Duration) -> Result<(), MachineError> {
        let Some(qemu) = &mut self.qemu else { return Ok(()) };
        qemu.monitor.wait_at_most(limit);
        let saved = qemu.state.take();
        let negotiated = qemu.monitor.negotiate();
        let connected =
            negotiated.and_then(|()| saved.as_ref().map_or(Ok(()), |state| qemu.monitor.restore(state)));
        match connected {
            // How QEMU ended says more than that its monitor failed.
            Err(error @ MachineError::Monitor(_)) => Err(self.end().unwrap_or(error)),
            Err(error) => Err(error),
            Ok(()) if saved.is_some() => self.announce_restore(),
            Ok(()) => Ok(()),
        }
    }

    /// Tells the agent that its machine was restored.
    fn announce_restore(&mut self) -> Result<(), MachineError> {
        let mut entropy = [0; ENTROPY_BYTES];
        File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut entropy))
            .map_err(host_error("read random bytes for the guest"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(now.as_secs()).unwrap_or_default();
        let time = TimeOfDay { seconds, nanoseconds: now.subsec_nanos() };
        self.send(&Request::Restored(AfterRestore { time, entropy }))
    }

    /// Waits until the agent reports ready: its kernel's release and features, and the time since the machine was started.
    ///
    /// # Errors
    /// If the machine ends, or reports something else, or nothing within `limit`.
    pub fn wait_until_ready(
        &mut self,
        limit: Duration,
    ) -> Result<(String, Features, Duration), MachineError> {
        let deadline = Instant::now() + limit;
        self.connect(limit)?;
        match self.next_until(deadline, limit)? {
            Report::Ready { protocol, release, features, shared_memory_bytes }
                if protocol == protocol::VERSION =>
            {
                if let Some(qemu) = &mut self.qemu {
                    qemu.readable_bytes = shared_memory_bytes.min(u64::from(SHARED_MEMORY_MIB) << 20);
                }
                Ok((quoted(&release).replace('\n', " "), features, self.started.elapsed()))
            }
            other => Err(ProtocolError::unexpected(&other, "that it is ready").into()),
        }
    }

    /// Stops the machine and saves its state; [`Machine::resume`] lets it continue. `None` if the machine is not QEMU.
    ///
    /// # Errors
    /// If QEMU cannot save it; the machine may be unusable then.
    pub fn save(&mut self) -> Result<Option<Saved>, MachineError> {
        let Some(qemu) = &mut self.qemu else { return Ok(None) };
        let state = memory::unnamed().map_err(host_error("create a file for the machine's state"))?;
        qemu.monitor.save(&state)?;
        let memory = qemu.memory.try_clone().map_err(host_error("share the machine's memory"))?;
        Ok(Some(Saved { memory, state }))
    }

    /// Lets a machine continue that was stopped to be saved. The saved memory must have been copied by now.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub fn resume(&mut self) -> Result<(), MachineError> {
        self.qemu.as_mut().map_or(Ok(()), |qemu| qemu.monitor.resume())
    }

    /// Gives the guest the payload, and waits until the agent has unpacked it.
    ///
    /// # Errors
    /// If the machine ends, or the agent does not unpack the payload within `limit`.
    pub fn load(&mut self, payload: &[u8], limit: Duration) -> Result<(), MachineError> {
        let bytes = payload.len() as u64;
        match &self.qemu {
            Some(Qemu { shared_memory, readable_bytes, .. }) if bytes <= *readable_bytes => {
                shared_memory
                    .write_all_at(payload, 0)
                    .map_err(host_error("write the payload to the guest's shared memory"))?;
                self.send(&Request::Load { bytes, place: Place::SharedMemory })?;
            }
            _ => {
                self.send(&Request::Load { bytes, place: Place::Stream })?;
                self.push(payload)?;
            }
        }
        match self.next(limit)? {
            Report::Loaded => Ok(()),
            other => Err(ProtocolError::unexpected(&other, "that the payload is loaded").into()),
        }
    }

    /// Requests that tests be run.
    ///
    /// # Errors
    /// If the guest does not read the request.
    pub fn run(&mut self, run: Run) -> Result<(), MachineError> {
        self.send(&Request::Run(run))
    }

    fn send(&mut self, request: &Request) -> Result<(), MachineError> {
        let mut frame = Vec::new();
        protocol::send(&mut frame, request).map_err(MachineError::Request)?;
        self.push(&frame)
    }

    /// Writes all of `bytes` to the port, unless the run is cancelled, or the guest does not read them.
    fn push(&mut self, mut bytes: &[u8]) -> Result<(), MachineError> {
        let deadline = Instant::now() + SEND_PATIENCE;
        while !bytes.is_empty() {
            if self.cancellation.is_set() {
                return Err(MachineError::Cancelled);
            }
            match self.port.write(bytes) {
                Ok(length) => bytes = &bytes[length..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {}
                Err(error) => {
                    return Err(self.end().unwrap_or_else(|| ProtocolError::Unread(error).into()));
                }
            }
        }
        Ok(())
    }

    /// Waits for the agent's next report.
    ///
    /// # Errors
    /// If the machine ends, or nothing comes within `limit`.
    pub fn next(&mut self, limit: Duration) -> Result<Report, MachineError> {
        self.next_until(Instant::now() + limit, limit)
    }

    fn next_until(&mut self, deadline: Instant, limit: Duration) -> Result<Report, MachineError> {
        loop {
            if self.cancellation.is_set() {
                return Err(MachineError::Cancelled);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left.min(CANCEL_INTERVAL)) {
                Ok(Heard::Report(Report::Problem { message })) => {
                    return Err(MachineError::Agent(quoted(&message)));
                }
                Ok(Heard::Report(report)) => return Ok(report),
                Ok(Heard::Malformed(error)) => {
                    return Err(self.end().unwrap_or_else(|| ProtocolError::from(error).into()));
                }
                Ok(Heard::Panic) => return Err(self.panicked()),
                Ok(Heard::ConsoleEnded) | Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                    return Err(MachineError::Silent { limit, console: self.tail_text() });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Tells the agent to power the machine off, and waits for its end.
    pub fn power_off(mut self) {
        if protocol::send(&mut self.port, &Request::PowerOff).is_ok() {
            self.wait_for_end();
        }
    }

    /// How the machine ends, if it does so soon: it is the usual reason for a malformed message.
    fn end(&mut self) -> Option<MachineError> {
        let deadline = Instant::now() + END_PATIENCE;
        while Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left).ok()? {
                Heard::Panic => return Some(self.panicked()),
                Heard::ConsoleEnded => return Some(self.ended()),
                Heard::Report(_) | Heard::Malformed(_) => {}
            }
        }
        None
    }

    /// The kernel has panicked: its message, and the call trace that follows.
    fn panicked(&mut self) -> MachineError {
        self.wait_for_end();
        MachineError::Panicked(self.tail_text())
    }

    /// The process has ended.
    fn ended(&mut self) -> MachineError {
        if self.cancellation.is_set() {
            return MachineError::Cancelled;
        }
        self.wait_for_end();
        let status = self.child.try_wait().ok().flatten();
        MachineError::Ended { status, console: self.tail_text() }
    }

    /// Gives the process a moment to end by itself.
    fn wait_for_end(&mut self) {
        let deadline = Instant::now() + END_PATIENCE;
        while Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(Heard::ConsoleEnded) | Err(_) => break,
                Ok(_) => {}
            }
        }
        // The console ends a moment before the process does.
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn tail_text(&self) -> String {
        let text = self.tail.lock().map(|tail| tail.text()).unwrap_or_default();
        if text.trim().is_empty() { "(it printed nothing)".into() } else { text }
    }
}

/// Makes the error of something that failed on the host, for `map_err`.
fn host_error(action: &'static str) -> impl FnOnce(io::Error) -> MachineError {
    move |source| MachineError::Host { action, source }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
