//! A machine: one QEMU process with one kernel, or the agent on the running kernel, and the talk with the agent in it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use hooklab_protocol::{self as protocol, Report, Request, Run};
use nix::sys::signal::Signal;

use crate::child;
use crate::compose::{Composed, INITRAMFS};
use crate::console::{self, SharedTail};
use crate::initramfs;
use crate::scratch::Scratch;

/// How often a wait looks whether the user has interrupted the run.
const CANCEL_INTERVAL: Duration = Duration::from_millis(50);

/// How long a machine may take to be gone after its kernel's last words, or after it was told to switch off.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// How long a guest may leave a request unread.
const SEND_PATIENCE: Duration = Duration::from_secs(60);

/// Messages that may wait to be read; a guest that talks faster is slowed down.
const BACKLOG: usize = 64;

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
    /// The agent runs on the running kernel.
    Host {
        /// The agent's static binary.
        agent: &'a Path,
    },
}

/// Why a machine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or socket could not be made.
    #[error("prepare a machine: {0}")]
    Prepare(#[from] io::Error),
    /// The initramfs could not be written.
    #[error(transparent)]
    Initramfs(#[from] initramfs::Error),
    /// The program is not there or may not be run.
    #[error("start {0}: {1}")]
    Spawn(String, io::Error),
}

/// How a machine ended before its work was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Death {
    /// The kernel said its last words.
    #[error("the kernel panicked:\n{0}")]
    Panicked(String),
    /// The process ended.
    #[error("the machine stopped ({status}); its last words:\n{tail}")]
    Stopped {
        /// How the process ended.
        status: String,
        /// The end of the console.
        tail: String,
    },
    /// Nothing came within the time allowed.
    #[error("nothing came from the guest for {limit:.1?}; the end of its console:\n{tail}")]
    Silent {
        /// How long was waited.
        limit: Duration,
        /// The end of the console.
        tail: String,
    },
    /// What came over the port is no message.
    #[error("the guest talks nonsense: {0}")]
    Nonsense(String),
    /// The agent said why it cannot go on.
    #[error("the agent in the guest failed to go on: {0}")]
    Problem(String),
    /// The user interrupted the run.
    #[error("interrupted")]
    Cancelled,
}

/// What the threads that listen to a machine hear.
enum Heard {
    Report(Report),
    Nonsense(String),
    LastWords,
    ConsoleEnded,
}

/// A running machine; dropped, it is killed and its folder removed.
pub struct Machine {
    child: Child,
    port: UnixStream,
    heard: Receiver<Heard>,
    tail: SharedTail,
    started: Instant,
    cancelled: Arc<AtomicBool>,
    _folder: Scratch,
}

impl Machine {
    /// Starts a machine; its console goes to `log` as well. The wait for the hello is [`Machine::hello`].
    ///
    /// # Errors
    /// If something is missing on the host; what goes wrong inside is a [`Death`], later.
    pub fn start(plan: Plan<'_>, log: Option<&Path>, cancelled: Arc<AtomicBool>) -> Result<Self, StartError> {
        let folder = Scratch::new()?;
        let log = log.map(create_log).transpose()?;
        let tail = SharedTail::default();
        let (sender, heard) = sync_channel(BACKLOG);
        let started = Instant::now();
        let (port, far_end) = UnixStream::pair()?;
        port.set_write_timeout(Some(CANCEL_INTERVAL))?;
        let reports = port.try_clone()?;
        let mut child = match plan {
            Plan::Boot { composed, agent, modules } => {
                initramfs::write(agent, modules, &folder.path().join(INITRAMFS))?;
                let mut command = composed.command(folder.path(), far_end.as_raw_fd());
                command.stdin(Stdio::null()).stdout(Stdio::null());
                spawn(&mut command, Some(far_end))?
            }
            Plan::Host { agent } => {
                let output = far_end.try_clone()?;
                let mut command = Command::new(agent);
                command.arg("--stdio").arg(folder.path());
                command.stdin(OwnedFd::from(far_end)).stdout(OwnedFd::from(output));
                spawn(&mut command, None)?
            }
        };
        let listener = sender.clone();
        thread::spawn(move || forward_reports(reports, &listener));
        if let Some(console) = child.stderr.take() {
            let tail = tail.clone();
            thread::spawn(move || forward_console(console, log, &tail, &sender));
        }
        Ok(Self { child, port, heard, tail, started, cancelled, _folder: folder })
    }

    /// Waits for the agent's hello: the release it runs on, and the time since the machine was started.
    ///
    /// # Errors
    /// If the machine dies, or says something else, or nothing within `limit`.
    pub fn hello(&mut self, limit: Duration) -> Result<(String, Duration), Death> {
        match self.next(limit)? {
            Report::Hello { protocol, release } if protocol == protocol::VERSION => {
                Ok((release, self.started.elapsed()))
            }
            other => Err(Death::Nonsense(format!("instead of hello it said {other:?}"))),
        }
    }

    /// Asks for tests to be run. The payload follows the request.
    ///
    /// # Errors
    /// If the guest does not take it in.
    pub fn run(&mut self, run: Run, payload: &[u8]) -> Result<(), Death> {
        let mut request = Vec::new();
        let framed = protocol::send(&mut request, &Request::Run(run));
        framed.map_err(|error| Death::Problem(error.to_string()))?;
        self.push(&request).and_then(|()| self.push(payload))
    }

    /// Writes all of `bytes` to the port, unless the user loses patience, or the guest does not read.
    fn push(&mut self, mut bytes: &[u8]) -> Result<(), Death> {
        let deadline = Instant::now() + SEND_PATIENCE;
        while !bytes.is_empty() {
            if self.cancelled.load(Ordering::Relaxed) {
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
        let deadline = Instant::now() + limit;
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(Death::Cancelled);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left.min(CANCEL_INTERVAL)) {
                Ok(Heard::Report(Report::Problem { message })) => return Err(Death::Problem(message)),
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
        if self.cancelled.load(Ordering::Relaxed) {
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

fn create_log(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Each machine of a run adds to it: the console of one that died is the one that is wanted.
    File::options().create(true).append(true).open(path)
}

/// Starts `command` in a process group of its own: an interrupt from the terminal is ours to handle.
fn spawn(command: &mut Command, kept: Option<UnixStream>) -> Result<Child, StartError> {
    command.stderr(Stdio::piped()).process_group(0);
    child::die_with_us(command, Signal::SIGKILL, kept);
    let program = command.get_program().to_string_lossy().into_owned();
    command.spawn().map_err(|error| StartError::Spawn(program, error))
}

/// Passes on what the agent says until the port ends.
fn forward_reports(mut port: UnixStream, sender: &SyncSender<Heard>) {
    loop {
        let heard = match protocol::receive(&mut port) {
            Ok(report) => Heard::Report(report),
            // The console's end tells of the machine's.
            Err(protocol::Error::Stream(_)) => return,
            Err(error) => Heard::Nonsense(error.to_string()),
        };
        let over = matches!(heard, Heard::Nonsense(_));
        if sender.send(heard).is_err() || over {
            return;
        }
    }
}

/// Passes on the end of the console, and the kernel's last words.
fn forward_console(console: impl Read, log: Option<File>, tail: &SharedTail, sender: &SyncSender<Heard>) {
    let followed = console::follow(console, log, |line, last_words| {
        console::remember(tail, line);
        if last_words {
            let _ = sender.send(Heard::LastWords);
        }
    });
    if let Err(error) = followed {
        console::remember(tail, format!("(the console could not be followed: {error})"));
    }
    let _ = sender.send(Heard::ConsoleEnded);
}
