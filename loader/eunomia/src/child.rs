//! `ecli` as a child process: started, listened to, told to stop. It does not outlive this process.

use std::ffi::OsString;
use std::io::{self, IoSlice, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{self, Path};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::uio::writev;
use nix::unistd::{Pid, getpid, getppid};

/// What it logs as soon as all programs are attached (`program_poll_loop` of the crate bpf-loader-lib).
const RUNNING: &[u8] = b"Running ebpf program...";
/// How long it may take to get there: the verifier may have much to do.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end when it is told to.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How much is kept of what it says, in bytes: more than the longest log of the verifier, which has 16 MiB.
const KEPT: usize = 32 << 20;
/// The dynamic linker that lies beside a copy that was made together with its libraries.
const LINKER: &str = "ld.so";

/// A running `ecli`. When it is dropped, it is killed.
pub(crate) struct Ecli {
    process: Child,
    /// Its log and its errors.
    output: ChildStderr,
    /// What came of that.
    said: Vec<u8>,
    /// Whether it is shown, too.
    verbose: bool,
}

/// How waiting for it ended.
pub(crate) enum Heard {
    /// With what was waited for.
    It,
    /// With its end.
    End(ExitStatus),
    /// With nothing, for as long as is bearable.
    Nothing,
}

impl Ecli {
    /// Starts `ecli run` on a package with the package's own flags.
    pub(crate) fn start(
        program: &Path,
        package: &Path,
        flags: &[OsString],
        verbose: bool,
    ) -> io::Result<Self> {
        let mut command = command(program);
        // The type is said and the path absolute, so that whatever the file is called, nothing else is meant by it.
        command.args(["run", "--prog-type", "json"]).arg(path::absolute(package)?).arg("--").args(flags);
        // The line that is waited for is one of its log, of this level.
        command.env("RUST_LOG", "info").env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let parent = getpid();
        // SAFETY: between fork and exec come system calls only, nothing that allocates or locks.
        unsafe { command.pre_exec(move || set_up(parent)) };
        let mut process = command.spawn()?;
        let output = process.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { process, output, said: Vec::new(), verbose })
    }

    /// Its PID.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A file that is ready to be read when it has said something, or has ended.
    pub(crate) fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// All that it has said, but for what was taken before.
    pub(crate) fn take_said(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.said)).into_owned()
    }

    /// Waits until it says that its programs are attached.
    pub(crate) fn wait_until_it_runs(&mut self) -> io::Result<Heard> {
        self.wait_for(START_PATIENCE, |new| new.windows(RUNNING.len()).any(|part| part == RUNNING))
    }

    /// Tells it to stop as its user would, and waits until it has ended.
    pub(crate) fn stop(&mut self) -> io::Result<Heard> {
        if let Some(status) = self.process.try_wait()? {
            return Ok(Heard::End(status));
        }
        let pid = i32::try_from(self.pid()).map_err(io::Error::other)?;
        kill(Pid::from_raw(pid), Signal::SIGINT)?;
        self.wait_for(STOP_PATIENCE, |_| false)
    }

    /// Reads what there is; gives how it ended once it has.
    pub(crate) fn listen(&mut self) -> io::Result<Option<ExitStatus>> {
        match self.read()? {
            0 => self.process.wait().map(Some),
            _ => Ok(None),
        }
    }

    /// Listens until what is new, with a little of what was before, is what is waited for.
    fn wait_for(&mut self, patience: Duration, is_it: impl Fn(&[u8]) -> bool) -> io::Result<Heard> {
        let deadline = Instant::now() + patience;
        while self.has_news_before(deadline)? {
            let length = self.read()?;
            if length == 0 {
                return self.process.wait().map(Heard::End);
            }
            let start = self.said.len().saturating_sub(length + RUNNING.len());
            if is_it(&self.said[start..]) {
                return Ok(Heard::It);
            }
        }
        Ok(Heard::Nothing)
    }

    fn has_news_before(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.output(), PollFlags::POLLIN)], timeout) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads once; 0 bytes are its end.
    fn read(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 1 << 16];
        let length = loop {
            match self.output.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if self.verbose {
            // By writev(), as all that is printed while programs are attached. Nobody listening is no error.
            let _ = writev(io::stderr(), &[IoSlice::new(&chunk[..length])]);
        }
        self.said.extend_from_slice(&chunk[..length]);
        if self.said.len() > KEPT {
            self.said.drain(..KEPT / 2);
        }
        Ok(length)
    }
}

impl Drop for Ecli {
    fn drop(&mut self) {
        // Both do nothing if it has ended, and was waited for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the program; a copy that has its dynamic linker and its libraries beside it, by that linker with these (ld.so(8)).
fn command(program: &Path) -> Command {
    let linker = program.with_file_name(LINKER);
    let (true, Some(libraries)) = (linker.is_file(), program.parent()) else { return Command::new(program) };
    let mut command = Command::new(linker);
    command.arg("--library-path").arg(libraries).arg(program);
    command
}

/// Has the kernel kill this process, which is about to become `ecli`, when its parent ends, however that ends; and
/// lets signals come, which the parent holds.
fn set_up(parent: Pid) -> io::Result<()> {
    SigSet::empty().thread_set_mask()?;
    set_pdeathsig(Signal::SIGKILL)?;
    // It may have ended before that.
    if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
}
