//! Runs a test in a process of its own: collects its output, enforces its time limit, and kills what it leaves running.

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
use crate::stream::Stream;

/// How long the processes that a test leaves running may take to exit by themselves: some are about to.
const GRACE: Duration = Duration::from_millis(500);

/// Maximum number of leaked processes that are listed.
const LISTED: usize = 8;

/// How long killed processes may take to exit. Shorter than the time for which the host waits for the agent.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// The condition of a wait.
#[derive(Clone, Copy)]
enum Until {
    /// The test's process has exited.
    Exited,
    /// The agent has no children any more.
    Childless,
}

/// The result of a test's process.
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) duration: Duration,
    pub(crate) output: String,
    /// Command lines of the processes that it left running, and that the agent has killed.
    pub(crate) leaks: Vec<String>,
}

/// What is to be reported of a test before its end.
pub(crate) enum Progress {
    /// The agent waits for processes or other leaks.
    Settling,
    /// It printed this.
    Output(String),
}

/// Reports progress to the host.
pub(crate) type Reporter<'a> = &'a mut dyn FnMut(Progress) -> Result<(), Error>;

/// A test's output, as it comes.
struct Listener<'a> {
    pipe: PipeReader,
    output: Output,
    /// None if the output is to be reported at the end alone.
    stream: Option<Stream>,
    report: Reporter<'a>,
}

impl Listener<'_> {
    /// Reads all available output. Returns false at the end of the pipe.
    fn drain(&mut self) -> Result<bool, Error> {
        let mut chunk = [0; 64 << 10];
        loop {
            match self.pipe.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(length) => {
                    self.output.push(&chunk[..length]);
                    if let Some(stream) = &mut self.stream {
                        stream.push(&chunk[..length]);
                    }
                    self.pass_on(false)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::system("read a test's output")(error)),
            }
        }
    }

    /// Reports what is due; with `all`, what there is.
    fn pass_on(&mut self, all: bool) -> Result<(), Error> {
        match self.stream.as_mut().and_then(|stream| stream.take(all)) {
            Some(text) => (self.report)(Progress::Output(text)),
            None => Ok(()),
        }
    }

    /// How long until something is due.
    fn next(&self) -> Option<Duration> {
        self.stream.as_ref().and_then(Stream::wait)
    }
}

/// Starts processes, and learns when they exit.
pub(crate) struct Processes {
    children: SignalFd,
    scope: Scope,
}

impl Processes {
    /// Blocks SIGCHLD for this thread and receives it through a descriptor instead.
    pub(crate) fn new(scope: Scope) -> Result<Self, Error> {
        let mask = SigSet::from(Signal::SIGCHLD);
        mask.thread_block().map_err(Error::system("block SIGCHLD"))?;
        // As for PID 1, every orphan becomes a child of the agent, whatever its process group or session.
        set_child_subreaper(true).map_err(Error::system("adopt orphans"))?;
        let children = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(Error::system("create a descriptor for SIGCHLD"))?;
        Ok(Self { children, scope })
    }

    /// Runs `command` until it exits or reaches its time limit, and kills every process that it started. Reports
    /// [`Progress::Settling`] before it waits for processes that were left running, and with `stream` its output as it comes.
    pub(crate) fn run(
        &self,
        command: &mut Command,
        limit: Duration,
        stream: bool,
        report: Reporter<'_>,
    ) -> Result<Ended, Error> {
        let (pipe, writer) = io::pipe().map_err(Error::system("create a pipe"))?;
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(Error::system("make a pipe non-blocking"))?;
        let other = writer.try_clone().map_err(Error::system("duplicate a pipe's descriptor"))?;
        command.stdin(Stdio::null()).stdout(writer).stderr(other).process_group(0);
        // Children inherit the mask: a program that waits for its own children would miss SIGCHLD.
        let unblock = || Ok(SigSet::empty().thread_set_mask()?);
        // SAFETY: only sigprocmask(2) runs between fork and exec; it neither allocates nor takes a lock.
        unsafe { command.pre_exec(unblock) };
        if let Scope::ProcessGroup = self.scope {
            // On the running kernel nothing else ends it if the agent is killed.
            let die_with_us = || Ok(set_pdeathsig(Signal::SIGKILL)?);
            // SAFETY: only prctl(2) runs between fork and exec; it neither allocates nor takes a lock.
            unsafe { command.pre_exec(die_with_us) };
        }
        let begin = Instant::now();
        let child = command.spawn().map_err(Error::system("start a test"))?;
        // The command still holds the pipe's write end; while it is open, the pipe never ends.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let pid = Pid::from_raw(child.id().cast_signed());

        let (output, stream) = (Output::new(MAX_OUTPUT), stream.then(Stream::new));
        let mut listener = Listener { pipe, output, stream, report };
        let in_time = self.wait(pid, Until::Exited, begin + limit, &mut listener)?.exit;
        let duration = begin.elapsed();
        let mut leaks = Vec::new();
        if in_time.is_some() && !reap(pid).childless {
            (listener.report)(Progress::Settling)?;
            if !self.wait(pid, Until::Childless, Instant::now() + GRACE, &mut listener)?.childless {
                leaks = self.leaked();
            }
        }
        // No process of this test may still run when the next test starts.
        let deadline = Instant::now() + KILL_TIMEOUT;
        while !reap(pid).childless && Instant::now() < deadline {
            self.kill_all(pid);
            // The children of a killed process become the agent's only now.
            let soon = deadline.min(Instant::now() + KILL_TIMEOUT / 10);
            self.wait(pid, Until::Childless, soon, &mut listener)?;
        }
        listener.drain()?;
        listener.pass_on(true)?;
        let exit = in_time.unwrap_or(Exit::TimedOut);
        Ok(Ended { exit, duration, output: listener.output.into_text(), leaks })
    }

    /// Command lines of the processes that a test left running: in a guest every process except for the agent and kernel
    /// threads, on the running kernel the agent's children.
    fn leaked(&self) -> Vec<String> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ours = |pid: &u32| match self.scope {
            Scope::Machine => *pid != 1,
            Scope::ProcessGroup => parent(*pid) == Some(std::process::id()),
        };
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(ours);
        pids.filter_map(|pid| Some(format!("process {pid}: {}", command_line(pid)?))).take(LISTED).collect()
    }

    /// Reads output until the condition holds or `deadline` has passed. Returns which children exited meanwhile.
    fn wait(
        &self,
        pid: Pid,
        until: Until,
        deadline: Instant,
        listener: &mut Listener<'_>,
    ) -> Result<Reaped, Error> {
        let mut open = true;
        loop {
            let reaped = reap(pid);
            let left = deadline.saturating_duration_since(Instant::now());
            let done = match until {
                Until::Exited => reaped.exit.is_some(),
                Until::Childless => reaped.childless,
            };
            if done || left.is_zero() {
                return Ok(reaped);
            }
            // Rounded up: polling with 0 ms would spin during the last millisecond.
            let left = listener.next().map_or(left, |next| left.min(next)) + Duration::from_millis(1);
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut ready = vec![PollFd::new(self.children.as_fd(), PollFlags::POLLIN)];
            if open {
                ready.push(PollFd::new(listener.pipe.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut ready, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("wait for a test")(errno)),
            }
            if open {
                open = listener.drain()?;
            }
            listener.pass_on(false)?;
            while let Ok(Some(_)) = self.children.read_signal() {}
        }
    }

    /// Kills a test and the processes that it left running: in a guest every process except for the agent, on the running
    /// kernel its process group and the agent's children.
    fn kill_all(&self, group: Pid) {
        // It fails if there is no process to kill.
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

/// The parent of a process: the fourth field of `/proc/PID/stat` (proc(5)). The second may contain any text, in
/// parentheses.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// The command line of a process, with spaces between its arguments; `None` for a kernel thread or an exited process.
fn command_line(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|line| !line.is_empty())?;
    let text = String::from_utf8_lossy(&line[..line.len().min(200)]).replace('\0', " ");
    Some(text.trim_end().to_owned())
}

/// The children that have exited.
struct Reaped {
    /// How the child in question exited, if it was among them.
    exit: Option<Exit>,
    /// Whether no children are left.
    childless: bool,
}

/// Reaps every child that has exited, including adopted orphans.
fn reap(pid: Pid) -> Reaped {
    let mut exit = None;
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(ended, code)) if ended == pid => exit = Some(Exit::Code(code)),
            Ok(WaitStatus::Signaled(ended, signal, _)) if ended == pid => {
                exit = Some(Exit::Signal(signal as i32));
            }
            Ok(WaitStatus::StillAlive) => return Reaped { exit, childless: false },
            Ok(_) => {}
            Err(_) => return Reaped { exit, childless: true },
        }
    }
}
