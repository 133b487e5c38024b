//! `hooklab-actor`: a process whose calls of `write()` are known to the last one.
//!
//! It reads commands from standard input, one on a line, and answers each, once it is done, with the PID and
//! the TID of whoever made the calls:
//!
//! | command | what happens | answer |
//! | --- | --- | --- |
//! | `write N` | the main thread calls `write()` N times | `PID PID` |
//! | `thread N` | a second thread does | `PID TID` |
//! | `fork N` | a forked child does | `CHILD CHILD` |
//!
//! Anything else ends it with exit code 1. It answers by `writev()`, so that its bookkeeping triggers nothing
//! that hooks `write()`: every further `write()` is a bug.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, IoSlice};
use std::process::ExitCode;
use std::thread;

use nix::sys::uio::writev;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, gettid, write};

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        // Not a word on standard error: that would be a write().
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> io::Result<()> {
    let sink = OpenOptions::new().write(true).open("/dev/null")?;
    for line in io::stdin().lock().lines() {
        let (pid, tid) = obey(&line?, &sink)?;
        let answer = format!("{pid} {tid}\n");
        writev(io::stdout(), &[IoSlice::new(answer.as_bytes())])?;
    }
    Ok(())
}

/// Does what one line says, and tells who did it.
fn obey(line: &str, sink: &File) -> io::Result<(Pid, Pid)> {
    let bad = || io::Error::from(io::ErrorKind::InvalidInput);
    let (command, count) = line.split_once(' ').ok_or_else(bad)?;
    let count = count.parse().map_err(|_| bad())?;
    match command {
        "write" => write_times(count, sink),
        "thread" => in_a_thread(count, sink),
        "fork" => in_a_child(count, sink),
        _ => Err(bad()),
    }
}

fn write_times(count: u32, sink: &File) -> io::Result<(Pid, Pid)> {
    for _ in 0..count {
        write(sink, b".")?;
    }
    Ok((getpid(), gettid()))
}

fn in_a_thread(count: u32, sink: &File) -> io::Result<(Pid, Pid)> {
    let done = thread::scope(|scope| scope.spawn(|| write_times(count, sink)).join());
    done.unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

fn in_a_child(count: u32, sink: &File) -> io::Result<(Pid, Pid)> {
    // SAFETY: this process has one thread now (any other was joined), so the child may do whatever it likes.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let code = i32::from(write_times(count, sink).is_err());
            // SAFETY: leaving is sound at any time; `_exit` runs no destructor and flushes no buffer.
            unsafe { nix::libc::_exit(code) }
        }
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, 0) => Ok((child, child)),
            status => Err(io::Error::other(format!("the child ended with {status:?}"))),
        },
    }
}
