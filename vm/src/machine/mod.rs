//! A machine: one QEMU process with one kernel, or the agent on the running kernel, and the talk with the agent in it.

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
use crate::qemu::command_line::{Composed, WINDOW_MIB};
use crate::qemu::console::SharedTail;
use crate::saved::{Saved, memory};

pub use cancellation::Halt;
pub use error::{Death, StartError};
pub(crate) use listen::create_log;

/// How often a wait looks whether the user has interrupted the run.
const CANCEL_INTERVAL: Duration = Duration::from_millis(50);

/// How long a machine may take to be gone after its kernel's last words, or after it was told to switch off.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// How long a guest may leave a request unread.
const SEND_PATIENCE: Duration = Duration::from_secs(60);

/// Messages that may wait to be read, each of up to 4 MiB; a guest that talks faster is slowed down.
const BACKLOG: usize = 8;

/// What makes a machine.
#[derive(Debug, Clone, Copy)]
pub enum Plan<'a> {
    /// QEMU boots a kernel.
    Boot {
        /// The machine.
        composed: &'a Composed,
        /// The agent's static binary.
        agent: &'a Path,
        /// Modules to load before the port is there, in order.
        modules: &'a [PathBuf],
    },
    /// QEMU goes on where a machine was saved.
    Resume {
        /// The machine.
        composed: &'a Composed,
        /// What it was.
        saved: &'a Saved,
    },
    /// The agent runs on the running kernel.
    Host {
        /// The agent's static binary.
        agent: &'a Path,
    },
}

/// A running machine; dropped, it is killed and its directory removed.
pub struct Machine {
    child: Child,
    port: UnixStream,
    /// None where the agent runs on the running kernel.
    qemu: Option<Qemu>,
    heard: Receiver<Heard>,
    tail: SharedTail,
    started: Instant,
    halt: Halt,
    _directory: Option<TemporaryDirectory>,
}

impl Machine {
    /// Starts a machine; its console goes to `log` as well, if that can be written. The wait for the hello is [`Machine::hello`].
    ///
    /// # Errors
    /// If something is missing on the host; what goes wrong inside is a [`Death`], later.
    pub fn start(plan: Plan<'_>, log: Option<&Path>, halt: Halt) -> Result<Self, StartError> {
        // Without a log, that of which the user has been warned, there is still the tail.
        let log = log.and_then(|path| create_log(path).ok());
        let tail = SharedTail::default();
        let (sender, heard) = sync_channel(BACKLOG);
        let started = Instant::now();
        let (port, far_end) = UnixStream::pair()?;
        port.set_write_timeout(Some(CANCEL_INTERVAL))?;
        let reports = port.try_clone()?;
        let Started { mut child, qemu, directory } = start(plan, far_end, &halt)?;
        let listener = sender.clone();
        thread::spawn(move || forward_reports(reports, &listener));
        if let Some(console) = child.stderr.take() {
            let tail = tail.clone();
            thread::spawn(move || forward_console(console, log, &tail, &sender));
        }
        Ok(Self { child, port, qemu, heard, tail, started, halt, _directory: directory })
    }

    /// Takes charge of QEMU; if it has a state to load, has it do so, and tells the agent that it slept.
    /// Takes at most `limit`.
    fn take_charge(&mut self, limit: Duration) -> Result<(), Death> {
        let Some(qemu) = &mut self.qemu else { return Ok(()) };
        qemu.monitor.wait_at_most(limit);
        let asleep = qemu.state.take();
        let negotiated = qemu.monitor.negotiate();
        let ready =
            negotiated.and_then(|()| asleep.as_ref().map_or(Ok(()), |state| qemu.monitor.load(state)));
        match ready {
            // How it ended says more than that its monitor did.
            Err(death @ Death::Monitor(_)) => Err(self.end().unwrap_or(death)),
            Err(death) => Err(death),
            Ok(()) if asleep.is_some() => self.wake(),
            Ok(()) => Ok(()),
        }
    }

    /// Tells the agent that it slept.
    fn wake(&mut self) -> Result<(), Death> {
        let failed = |error: io::Error| Death::Problem(format!("no random bytes: {error}"));
        let mut entropy = [0; ENTROPY_BYTES];
        File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut entropy)).map_err(failed)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(now.as_secs()).unwrap_or_default();
        let time = TimeOfDay { seconds, nanoseconds: now.subsec_nanos() };
        self.send(&Request::Restored(AfterRestore { time, entropy }))
    }

    /// Waits for the agent's hello: the release it runs on, what that can do, and the time since the machine was started.
    ///
    /// # Errors
    /// If the machine dies, or says something else, or nothing within `limit`.
    pub fn hello(&mut self, limit: Duration) -> Result<(String, Features, Duration), Death> {
        let deadline = Instant::now() + limit;
        self.take_charge(limit)?;
        match self.next_until(deadline, limit)? {
            Report::Ready { protocol, release, features, shared_memory_bytes }
                if protocol == protocol::VERSION =>
            {
                if let Some(qemu) = &mut self.qemu {
                    qemu.window_bytes = shared_memory_bytes.min(u64::from(WINDOW_MIB) << 20);
                }
                Ok((quoted(&release).replace('\n', " "), features, self.started.elapsed()))
            }
            other => Err(Death::nonsense(&format!("instead of hello it said {other:?}"))),
        }
    }

    /// Stops the machine and saves it; [`Machine::go_on`] has it go on. None if there is nothing that could be saved.
    ///
    /// # Errors
    /// If QEMU cannot save it; the machine may be of no more use.
    pub fn save(&mut self) -> Result<Option<Saved>, Death> {
        let Some(qemu) = &mut self.qemu else { return Ok(None) };
        let failed = |error: io::Error| Death::Monitor(format!("no room for its state: {error}"));
        let state = memory::unnamed().map_err(failed)?;
        qemu.monitor.save(&state)?;
        Ok(Some(Saved { memory: qemu.memory.try_clone().map_err(failed)?, state }))
    }

    /// Has a machine go on that was stopped to be saved. What was saved must have been written elsewhere by now.
    ///
    /// # Errors
    /// If QEMU does not.
    pub fn go_on(&mut self) -> Result<(), Death> {
        self.qemu.as_mut().map_or(Ok(()), |qemu| qemu.monitor.go_on())
    }

    /// Sends the payload in, and waits until it is there.
    ///
    /// # Errors
    /// If the machine dies, or the guest does not take it in within `limit`.
    pub fn load(&mut self, payload: &[u8], limit: Duration) -> Result<(), Death> {
        let bytes = payload.len() as u64;
        match &self.qemu {
            Some(Qemu { window, window_bytes, .. }) if bytes <= *window_bytes => {
                let written = window.write_all_at(payload, 0);
                written.map_err(|error| Death::Problem(format!("no room for the payload: {error}")))?;
                self.send(&Request::Load { bytes, place: Place::SharedMemory })?;
            }
            _ => {
                self.send(&Request::Load { bytes, place: Place::Stream })?;
                self.push(payload)?;
            }
        }
        match self.next(limit)? {
            Report::Loaded => Ok(()),
            other => Err(Death::nonsense(&format!("instead of taking in the payload it said {other:?}"))),
        }
    }

    /// Asks for tests to be run.
    ///
    /// # Errors
    /// If the guest does not take it in.
    pub fn run(&mut self, run: Run) -> Result<(), Death> {
        self.send(&Request::Run(run))
    }

    fn send(&mut self, request: &Request) -> Result<(), Death> {
        let mut frame = Vec::new();
        let framed = protocol::send(&mut frame, request);
        framed.map_err(|error| Death::Problem(protocol::with_causes(&error)))?;
        self.push(&frame)
    }

    /// Writes all of `bytes` to the port, unless the user loses patience, or the guest does not read.
    fn push(&mut self, mut bytes: &[u8]) -> Result<(), Death> {
        let deadline = Instant::now() + SEND_PATIENCE;
        while !bytes.is_empty() {
            if self.halt.is_set() {
                return Err(Death::Cancelled);
            }
            match self.port.write(bytes) {
                Ok(length) => bytes = &bytes[length..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {}
                Err(error) => {
                    let death = Death::Nonsense(format!("it did not take in the payload: {error}"));
                    return Err(self.end().unwrap_or(death));
                }
            }
        }
        Ok(())
    }

    /// Waits for what the agent says next.
    ///
    /// # Errors
    /// If the machine dies, or nothing comes within `limit`.
    pub fn next(&mut self, limit: Duration) -> Result<Report, Death> {
        self.next_until(Instant::now() + limit, limit)
    }

    fn next_until(&mut self, deadline: Instant, limit: Duration) -> Result<Report, Death> {
        loop {
            if self.halt.is_set() {
                return Err(Death::Cancelled);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left.min(CANCEL_INTERVAL)) {
                Ok(Heard::Report(Report::Problem { message })) => {
                    return Err(Death::Problem(quoted(&message)));
                }
                Ok(Heard::Report(report)) => return Ok(report),
                Ok(Heard::Nonsense(what)) => return Err(self.end().unwrap_or(Death::Nonsense(what))),
                Ok(Heard::LastWords) => {
                    // The call trace comes after the words.
                    self.wait_for_end();
                    return Err(Death::Panicked(self.tail_text()));
                }
                Ok(Heard::ConsoleEnded) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.stopped());
                }
                Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                    return Err(Death::Silent { limit, tail: self.tail_text() });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Tells the agent to switch off, and sees to it.
    pub fn power_off(mut self) {
        if protocol::send(&mut self.port, &Request::PowerOff).is_ok() {
            self.wait_for_end();
        }
    }

    /// Messages that ended in nonsense do so mostly because the machine is dying: waits for what it was.
    fn end(&mut self) -> Option<Death> {
        let deadline = Instant::now() + LAST_PATIENCE;
        while Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(heard) = self.heard.recv_timeout(left) else { break };
            match heard {
                Heard::LastWords => {
                    self.wait_for_end();
                    return Some(Death::Panicked(self.tail_text()));
                }
                Heard::ConsoleEnded => return Some(self.stopped()),
                Heard::Report(_) | Heard::Nonsense(_) => {}
            }
        }
        None
    }

    /// The process is over: how it ended.
    fn stopped(&mut self) -> Death {
        if self.halt.is_set() {
            return Death::Cancelled;
        }
        self.wait_for_end();
        let status = match self.child.try_wait() {
            Ok(Some(status)) => status.to_string(),
            _ => "it closed its console".to_owned(),
        };
        Death::Stopped { status, tail: self.tail_text() }
    }

    /// Gives the process a moment to end by itself.
    fn wait_for_end(&mut self) {
        let deadline = Instant::now() + LAST_PATIENCE;
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

impl Drop for Machine {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
