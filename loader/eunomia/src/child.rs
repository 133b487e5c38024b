//! `ecli` as a child process: start, read its output, stop. It does not outlive this process.

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

/// The message that it logs as soon as all programs are attached (`program_poll_loop` of the crate bpf-loader-lib).
const RUNNING: &[u8] = b"Running ebpf program...";
/// Time limit for attaching: the verifier may take long.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Time limit for exiting after SIGINT.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// The maximum size of the kept output, in bytes: more than the longest log of the verifier, 16 MiB.
const KEPT: usize = 32 << 20;
/// The dynamic linker in the directory of a copy that comes with its libraries.
const LINKER: &str = "ld.so";

/// A running `ecli`. When it is dropped, it is killed.
pub(crate) struct Ecli {
    process: Child,
    /// Its standard error: log and errors.
    stderr: ChildStderr,
    /// The output that was read and not taken.
    output: Vec<u8>,
    /// Whether to print the output as well.
    verbose: bool,
}

/// How a wait ended.
pub(crate) enum Waited {
    /// The expected message came.
    Found,
    /// The process exited.
    Exited(ExitStatus),
    /// Neither happened within the time limit.
    TimedOut,
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
        // With the type and an absolute path, a file name cannot be taken for anything else.
        command.args(["run", "--prog-type", "json"]).arg(path::absolute(package)?).arg("--").args(flags);
        // The expected message is part of its log at this level.
        command.env("RUST_LOG", "info").env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let parent = getpid();
        // SAFETY: between fork and exec come system calls only, nothing that allocates or locks.
        unsafe { command.pre_exec(move || set_up(parent)) };
        let mut process = command.spawn()?;
        let stderr = process.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { process, stderr, output: Vec::new(), verbose })
    }

    /// Its PID.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A file that becomes readable when it has printed something or has exited.
    pub(crate) fn stderr(&self) -> BorrowedFd<'_> {
        self.stderr.as_fd()
    }

    /// Takes the output since the last call.
    pub(crate) fn take_output(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.output)).into_owned()
    }

    /// Waits until it reports that its programs are attached.
    pub(crate) fn wait_until_attached(&mut self) -> io::Result<Waited> {
        self.wait_for(START_PATIENCE, |new| new.windows(RUNNING.len()).any(|part| part == RUNNING))
    }

    /// Sends SIGINT, as its user would, and waits until it has exited.
    pub(crate) fn stop(&mut self) -> io::Result<Waited> {
        if let Some(status) = self.process.try_wait()? {
            return Ok(Waited::Exited(status));
        }
        let pid = i32::try_from(self.pid()).map_err(io::Error::other)?;
        kill(Pid::from_raw(pid), Signal::SIGINT)?;
        self.wait_for(STOP_PATIENCE, |_| false)
    }

    /// Reads once; returns the exit status if the output has ended.
    pub(crate) fn read_output(&mut self) -> io::Result<Option<ExitStatus>> {
        match self.read()? {
            0 => self.process.wait().map(Some),
            _ => Ok(None),
        }
    }

    /// Reads until `is_it` accepts the new output, with enough of the old for a message that was split.
    fn wait_for(&mut self, patience: Duration, is_it: impl Fn(&[u8]) -> bool) -> io::Result<Waited> {
        let deadline = Instant::now() + patience;
        while self.is_readable_before(deadline)? {
            let length = self.read()?;
            if length == 0 {
                return self.process.wait().map(Waited::Exited);
            }
            let start = self.output.len().saturating_sub(length + RUNNING.len());
            if is_it(&self.output[start..]) {
                return Ok(Waited::Found);
            }
        }
        Ok(Waited::TimedOut)
    }

    fn is_readable_before(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.stderr(), PollFlags::POLLIN)], timeout) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads once; 0 bytes mean the end.
    fn read(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 1 << 16];
        let length = loop {
            match self.stderr.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if self.verbose {
            // By writev(), like everything that is printed while programs are attached. A closed pipe is no error.
            let _ = writev(io::stderr(), &[IoSlice::new(&chunk[..length])]);
        }
        self.output.extend_from_slice(&chunk[..length]);
        if self.output.len() > KEPT {
            self.output.drain(..KEPT / 2);
        }
        Ok(length)
    }
}

impl Drop for Ecli {
    fn drop(&mut self) {
        // Both do nothing if it has exited and was waited for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the program; if its dynamic linker and libraries are in its directory, with those (ld.so(8)).
fn command(program: &Path) -> Command {
    let linker = program.with_file_name(LINKER);
    let (true, Some(libraries)) = (linker.is_file(), program.parent()) else { return Command::new(program) };
    let mut command = Command::new(linker);
    command.arg("--library-path").arg(libraries).arg(program);
    command
}

/// Makes the kernel kill this process, which is about to execute `ecli`, when its parent exits for any reason; and
/// unblocks the signals that the parent has blocked.
fn set_up(parent: Pid) -> io::Result<()> {
    SigSet::empty().thread_set_mask()?;
    set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have exited before that.
    if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
}
