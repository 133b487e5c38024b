//! Processes whose system calls are known; see `tests/actor/main.rs`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::Shutdown;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use hooklab_types::actor::{self, Caller};
use nix::libc;
use nix::sys::socket::{MsgFlags, send};

use super::payload;

/// How long an actor may take to get into a system call.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to look; the kernel tells nobody.
const STEP: Duration = Duration::from_millis(1);

/// A running `hooklab-actor`. It ends when it is dropped.
///
/// Commands and answers go over a socket: what is sent there is neither a `write()` nor an access to a file that an LSM hook
/// sees.
pub(crate) struct Actor {
    process: Child,
    socket: BufReader<UnixStream>,
}

impl Actor {
    pub(crate) fn start() -> Self {
        let (ours, its) = UnixStream::pair().expect("sockets come in pairs");
        let output = its.try_clone().expect("duplicate a socket");
        let process = Command::new(payload::path("bin/hooklab-actor"))
            .stdin(OwnedFd::from(its))
            .stdout(OwnedFd::from(output))
            .spawn()
            .expect("start hooklab-actor");
        Self { process, socket: BufReader::new(ours) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Has it call `write()` that many times, and returns when it is done.
    pub(crate) fn write(&mut self, count: u32) {
        self.by_itself(actor::Command::Write(count));
    }

    /// Has it call `writev()` that many times, and returns when it is done.
    pub(crate) fn writev(&mut self, count: u32) {
        self.by_itself(actor::Command::Writev(count));
    }

    /// The same as [`Actor::write`] from a thread that is not the main one.
    pub(crate) fn write_from_a_thread(&mut self, count: u32) -> Caller {
        self.command(actor::Command::Thread(count))
    }

    /// The same from a forked child.
    pub(crate) fn write_from_a_child(&mut self, count: u32) -> Caller {
        self.command(actor::Command::Fork(count))
    }

    /// Has it call `write()` once, and returns when it waits there, until [`Actor::release`].
    pub(crate) fn block_in_write(&mut self) {
        self.by_itself(actor::Command::Block);
        let deadline = Instant::now() + PATIENCE;
        while self.system_call() != Some(libc::SYS_write) {
            assert!(Instant::now() < deadline, "the actor does not wait in write()");
            thread::sleep(STEP);
        }
    }

    /// Lets the `write()` return in which it waits, and returns when it has.
    pub(crate) fn release(&mut self) {
        self.by_itself(actor::Command::Release);
    }

    /// The number of the system call in which its main thread waits (proc_pid_syscall(5)); `None` if it does not.
    fn system_call(&self) -> Option<libc::c_long> {
        let text = fs::read_to_string(format!("/proc/{}/syscall", self.pid())).expect("the actor runs");
        text.split(' ').next()?.parse().ok()
    }

    /// Has its main thread do something.
    fn by_itself(&mut self, command: actor::Command) {
        let caller = self.command(command);
        assert_eq!(
            (caller.pid, caller.tid),
            (self.pid(), self.pid()),
            "the actor is in another PID namespace"
        );
    }

    fn command(&mut self, command: actor::Command) -> Caller {
        let mut line = serde_json::to_vec(&command).expect("a command is JSON");
        line.push(b'\n');
        let sent = send(self.socket.get_ref().as_raw_fd(), &line, MsgFlags::MSG_NOSIGNAL);
        assert_eq!(sent, Ok(line.len()), "the actor listens");
        let mut answer = String::new();
        self.socket.read_line(&mut answer).expect("the actor answers");
        serde_json::from_str(&answer).expect("the actor did as it was told")
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.socket.get_ref().shutdown(Shutdown::Write);
        let _ = self.process.wait();
    }
}
