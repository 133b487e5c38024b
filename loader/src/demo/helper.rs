//! Parts of the built-in workload: this program in other processes, which do what they are told, when they are told.

use std::io::{self, BufRead as _, BufReader, IoSlice};
use std::os::fd::AsFd as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::uio::writev;

/// The argument that makes this program a process that writes.
pub(super) const WRITER: &str = "--writer";

/// The argument that makes this program one that makes the system calls that it is named.
pub(super) const STIMULATE: &str = "--stimulate";

/// This program in another process, whose system calls are all known.
pub(super) struct Helper {
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts it; it waits for its first command.
    pub(super) fn start<'a>(arguments: impl IntoIterator<Item = &'a str>) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        let mut process = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let commands = process.stdin.take();
        let answers = process.stdout.take().ok_or(io::Error::other("a process has no standard output"))?;
        Ok(Self { process, commands, answers: BufReader::new(answers) })
    }

    /// Its PID.
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a command, and waits until it has done that, but not longer than `limit`. Its answer; after an error, it
    /// has ended.
    pub(super) fn tell(&mut self, command: &str, limit: Duration) -> io::Result<String> {
        let commands = self.commands.as_ref().ok_or(io::Error::other("a process has no standard input"))?;
        // By writev(), like everything that is written while a program is attached.
        writev(commands, &[IoSlice::new(format!("{command}\n").as_bytes())])?;
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let mut ready = [PollFd::new(self.answers.get_ref().as_fd(), PollFlags::POLLIN)];
        // What is attached may keep it waiting for ever, for example for packets.
        if poll(&mut ready, timeout)? == 0 {
            self.process.kill()?;
            return Err(io::Error::other(format!("it did not end within {} s", limit.as_secs())));
        }
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match answer.pop() {
            Some(_) => Ok(answer),
            None => Err(io::Error::other("it has ended early")),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.process.wait();
    }
}

/// Carries out each line of standard input, and answers with a line.
pub(super) fn serve(mut carry_out: impl FnMut(&str) -> io::Result<String>) -> io::Result<()> {
    for command in io::stdin().lock().lines() {
        let answer = carry_out(&command?)?;
        writev(io::stdout(), &[IoSlice::new(format!("{answer}\n").as_bytes())])?;
    }
    Ok(())
}

/// Reads a number from each line of standard input, and writes as often.
pub(super) fn write() -> io::Result<()> {
    let sink = fs::OpenOptions::new().write(true).open("/dev/null")?;
    serve(|count| {
        let count: u32 = count.parse().map_err(io::Error::other)?;
        for _ in 0..count {
            nix::unistd::write(&sink, b".")?;
        }
        Ok(String::new())
    })
}
