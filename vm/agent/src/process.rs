//! One test in a process of its own: started, listened to, limited in time, and cleared away.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hooklab_protocol::{Exit, MAX_OUTPUT};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::Error;
use crate::output::Output;
use crate::session::Scope;

/// How long a killed process may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// What came of a process.
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) duration: Duration,
    pub(crate) output: String,
}

/// Starts processes and hears when they end.
pub(crate) struct Processes {
    children: SignalFd,
    scope: Scope,
}

impl Processes {
    /// From here on the ends of children are heard through a descriptor: SIGCHLD is blocked for this thread
    /// (std gives children an empty mask again).
    pub(crate) fn new(scope: Scope) -> Result<Self, Error> {
        let mask = SigSet::from(Signal::SIGCHLD);
        mask.thread_block().map_err(Error::system("block SIGCHLD"))?;
        let children = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(Error::system("listen for SIGCHLD"))?;
        Ok(Self { children, scope })
    }

    /// Runs `command` to its end or to its time limit; whatever it started is killed with it.
    pub(crate) fn run(&self, command: &mut Command, limit: Duration) -> Result<Ended, Error> {
        let (mut pipe, writer) = io::pipe().map_err(Error::system("make a pipe"))?;
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(Error::system("set up a pipe"))?;
        let other = writer.try_clone().map_err(Error::system("make a pipe"))?;
        command.stdin(Stdio::null()).stdout(writer).stderr(other).process_group(0);
        let begin = Instant::now();
        let child = command.spawn().map_err(Error::system("start a test"))?;
        // The command holds the pipe's other end: without it the end of the output could not be seen.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let pid = Pid::from_raw(child.id().cast_signed());

        let mut output = Output::new(MAX_OUTPUT);
        let exit = match self.listen(pid, begin + limit, &mut pipe, &mut output)? {
            Some(exit) => exit,
            None => {
                self.clear(pid);
                self.listen(pid, Instant::now() + KILL_PATIENCE, &mut pipe, &mut output)?;
                Exit::TimedOut
            }
        };
        let duration = begin.elapsed();
        self.clear(pid);
        drain(&mut pipe, &mut output).map_err(Error::system("read a test's output"))?;
        Ok(Ended { exit, duration, output: output.into_text() })
    }

    /// Takes in output until `pid` has ended (how it did) or `deadline` has passed (`None`).
    fn listen(
        &self,
        pid: Pid,
        deadline: Instant,
        pipe: &mut PipeReader,
        output: &mut Output,
    ) -> Result<Option<Exit>, Error> {
        let mut open = true;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // Rounded up: a poll of 0 ms would spin through the last millisecond.
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            let mut ready = vec![PollFd::new(self.children.as_fd(), PollFlags::POLLIN)];
            if open {
                ready.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut ready, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("wait for a test")(errno)),
            }
            if open {
                open = drain(pipe, output).map_err(Error::system("read a test's output"))?;
            }
            while let Ok(Some(_)) = self.children.read_signal() {}
            if let Some(exit) = reap(pid) {
                return Ok(Some(exit));
            }
        }
    }

    /// Kills what a test left running: in a guest everything but the agent, on the host its process group.
    fn clear(&self, group: Pid) {
        let target = match self.scope {
            Scope::Machine => Pid::from_raw(-1),
            Scope::ProcessGroup => Pid::from_raw(-group.as_raw()),
        };
        // Nothing to kill is the usual case.
        let _ = kill(target, Signal::SIGKILL);
        reap(group);
    }
}

/// Reads what is there; false when the pipe has ended.
fn drain(pipe: &mut PipeReader, output: &mut Output) -> io::Result<bool> {
    let mut chunk = [0; 64 << 10];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => return Ok(false),
            Ok(length) => output.push(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Collects every child that has ended; says how `pid` did if it is among them.
fn reap(pid: Pid) -> Option<Exit> {
    let mut found = None;
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(ended, code)) if ended == pid => found = Some(Exit::Code(code)),
            Ok(WaitStatus::Signaled(ended, signal, _)) if ended == pid => {
                found = Some(Exit::Signal(signal as i32));
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return found,
            Ok(_) => {}
        }
    }
}
