//! One test in a process of its own: started, listened to, limited in time, and cleared away.

use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hooklab_protocol::{Exit, MAX_OUTPUT};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::{set_child_subreaper, set_pdeathsig};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::Error;
use crate::output::Output;
use crate::scope::Scope;

/// How long processes that a test left may take to end by themselves: some are about to.
const GRACE: Duration = Duration::from_millis(500);

/// Processes that are named, at most.
const NAMED: usize = 8;

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
    /// Processes that it left running, by their command lines. They are gone now.
    pub(crate) left: Vec<String>,
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
        // As PID 1 has: every process that a test leaves becomes a child, wherever it went.
        set_child_subreaper(true).map_err(Error::system("adopt orphans"))?;
        let children = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(Error::system("listen for SIGCHLD"))?;
        Ok(Self { children, scope })
    }

    /// Runs `command` to its end or to its time limit; whatever it started is killed with it. `settling` is called
    /// before any wait for what it left.
    pub(crate) fn run(
        &self,
        command: &mut Command,
        limit: Duration,
        settling: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Ended, Error> {
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
        let in_time = self.listen(pid, Until::Ended, begin + limit, &mut pipe, &mut output)?.exit;
        let duration = begin.elapsed();
        let mut left = Vec::new();
        if in_time.is_some() && !reap(pid).alone {
            settling()?;
            if !self.listen(pid, Until::Alone, Instant::now() + GRACE, &mut pipe, &mut output)?.alone {
                left = self.others();
            }
        }
        // Nothing of this test may still be there when the next one starts.
        let deadline = Instant::now() + KILL_PATIENCE;
        while !reap(pid).alone && Instant::now() < deadline {
            self.kill_all(pid);
            // What a killed process had started becomes our child only now.
            let soon = deadline.min(Instant::now() + KILL_PATIENCE / 10);
            self.listen(pid, Until::Alone, soon, &mut pipe, &mut output)?;
        }
        drain(&mut pipe, &mut output).map_err(Error::system("read a test's output"))?;
        let exit = in_time.unwrap_or(Exit::TimedOut);
        Ok(Ended { exit, duration, output: output.into_text(), left })
    }

    /// Command lines of what a test left running: in a guest every process but the agent and the kernel's own, on
    /// the host the agent's children.
    fn others(&self) -> Vec<String> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ours = |pid: &u32| match self.scope {
            Scope::Machine => *pid != 1,
            Scope::ProcessGroup => parent(*pid) == Some(std::process::id()),
        };
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(ours);
        pids.filter_map(|pid| Some(format!("process {pid}: {}", command_line(pid)?))).take(NAMED).collect()
    }

    /// Takes in output until what is waited for has happened, or `deadline` has passed. Says what became of `pid` in
    /// this time.
    fn listen(
        &self,
        pid: Pid,
        until: Until,
        deadline: Instant,
        pipe: &mut PipeReader,
        output: &mut Output,
    ) -> Result<Reaped, Error> {
        let mut open = true;
        loop {
            let reaped = reap(pid);
            let left = deadline.saturating_duration_since(Instant::now());
            let done = match until {
                Until::Ended => reaped.exit.is_some(),
                Until::Alone => reaped.alone,
            };
            if done || left.is_zero() {
                return Ok(reaped);
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

    /// Kills a test and what it left running: in a guest everything but the agent, on the host its process group and
    /// whatever else has become a child of ours.
    fn kill_all(&self, group: Pid) {
        // Nothing to kill is nothing to tell of.
        let kill = |pid: i32| {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        };
        match self.scope {
            Scope::Machine => kill(-1),
            Scope::ProcessGroup => {
                kill(-group.as_raw());
                let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
                children.split_whitespace().filter_map(|pid| pid.parse().ok()).for_each(kill);
            }
        }
    }
}

/// The fourth field of `/proc/PID/stat` (proc(5)); the second may hold anything in its parentheses.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// With spaces between its words. `None` for a thread of the kernel's, or a process that has ended.
fn command_line(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|line| !line.is_empty())?;
    let text = String::from_utf8_lossy(&line[..line.len().min(200)]).replace('\0', " ");
    Some(text.trim_end().to_owned())
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

/// What was heard of children.
struct Reaped {
    /// How the one that was asked for ended, if it was among them.
    exit: Option<Exit>,
    /// Whether there are no children left.
    alone: bool,
}

/// Collects every child that has ended; orphans are children, too.
fn reap(pid: Pid) -> Reaped {
    let mut exit = None;
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(ended, code)) if ended == pid => exit = Some(Exit::Code(code)),
            Ok(WaitStatus::Signaled(ended, signal, _)) if ended == pid => {
                exit = Some(Exit::Signal(signal as i32));
            }
            Ok(WaitStatus::StillAlive) => return Reaped { exit, alone: false },
            Ok(_) => {}
            Err(_) => return Reaped { exit, alone: true },
        }
    }
}
