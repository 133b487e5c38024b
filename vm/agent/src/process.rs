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
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::Error;
use crate::output::Output;
use crate::session::Scope;

/// How long killed processes may take to be gone. Less than the host waits for the agent's word.
const KILL_PATIENCE: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Clone, Copy)]
enum Until {
    /// The test's process has ended.
    Ended,
    /// No process of the test's is left.
    Alone,
}

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
        if let Scope::ProcessGroup = self.scope {
            // On the host nobody else would end it when the agent is killed.
            let die_with_us = || Ok(set_pdeathsig(Signal::SIGKILL)?);
            // SAFETY: prctl(2) alone runs between fork and exec; it allocates nothing and takes no lock.
            unsafe { command.pre_exec(die_with_us) };
        }
        let begin = Instant::now();
        let child = command.spawn().map_err(Error::system("start a test"))?;
        // The command holds the pipe's other end: without it the end of the output could not be seen.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let pid = Pid::from_raw(child.id().cast_signed());

        let mut output = Output::new(MAX_OUTPUT);
        let in_time = self.listen(pid, Until::Ended, begin + limit, &mut pipe, &mut output)?;
        let duration = begin.elapsed();
        self.kill_all(pid);
        // Nothing of this test may still be there when the next one starts.
        self.listen(pid, Until::Alone, Instant::now() + KILL_PATIENCE, &mut pipe, &mut output)?;
        drain(&mut pipe, &mut output).map_err(Error::system("read a test's output"))?;
        Ok(Ended { exit: in_time.unwrap_or(Exit::TimedOut), duration, output: output.into_text() })
    }

    /// Takes in output until what is waited for has happened, or `deadline` has passed. Says how `pid` ended, if it
    /// did in this time.
    fn listen(
        &self,
        pid: Pid,
        until: Until,
        deadline: Instant,
        pipe: &mut PipeReader,
        output: &mut Output,
    ) -> Result<Option<Exit>, Error> {
        let (mut open, mut exit) = (true, None);
        loop {
            let (ended, left_alone) = reap(pid);
            exit = exit.or(ended);
            let left = deadline.saturating_duration_since(Instant::now());
            let done = match until {
                Until::Ended => exit.is_some(),
                Until::Alone => left_alone,
            };
            if done || left.is_zero() {
                return Ok(exit);
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
        }
    }

    /// Kills a test and what it left running: in a guest everything but the agent, on the host its process group.
    fn kill_all(&self, group: Pid) {
        let target = match self.scope {
            Scope::Machine => Pid::from_raw(-1),
            Scope::ProcessGroup => Pid::from_raw(-group.as_raw()),
        };
        // Nothing to kill is the usual case.
        let _ = kill(target, Signal::SIGKILL);
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

/// Collects every child that has ended; says how `pid` did if it is among them, and whether there are no more
/// children. PID 1 has every orphan for a child.
fn reap(pid: Pid) -> (Option<Exit>, bool) {
    let mut found = None;
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(ended, code)) if ended == pid => found = Some(Exit::Code(code)),
            Ok(WaitStatus::Signaled(ended, signal, _)) if ended == pid => {
                found = Some(Exit::Signal(signal as i32));
            }
            Ok(WaitStatus::StillAlive) => return (found, false),
            Ok(_) => {}
            Err(_) => return (found, true),
        }
    }
}
