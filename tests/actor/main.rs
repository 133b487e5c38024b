//! `hooklab-actor`: a process whose calls of `write()` are known to the last one.
//!
//! It reads a [`Command`] from each line of standard input, and answers with the [`Caller`] once the calls are made.
//! Anything else ends it with exit code 1. It answers by `writev()`, so that its bookkeeping triggers nothing
//! that hooks `write()`: every further `write()` is a bug.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, IoSlice};
use std::process::ExitCode;
use std::thread;

use hooklab_types::actor::{Caller, Command};
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
        let caller = obey(serde_json::from_str(&line?)?, &sink)?;
        let answer = serde_json::to_vec(&caller)?;
        writev(io::stdout(), &[IoSlice::new(&answer), IoSlice::new(b"\n")])?;
    }
    Ok(())
}

/// Carries out a command, and tells who made the calls.
fn obey(command: Command, sink: &File) -> io::Result<Caller> {
    match command {
        Command::Write(count) => write_times(count, sink),
        Command::Thread(count) => in_a_thread(count, sink),
        Command::Fork(count) => in_a_child(count, sink),
    }
}

fn write_times(count: u32, sink: &File) -> io::Result<Caller> {
    for _ in 0..count {
        write(sink, b".")?;
    }
    Ok(caller(getpid(), gettid()))
}

fn in_a_thread(count: u32, sink: &File) -> io::Result<Caller> {
    let done = thread::scope(|scope| scope.spawn(|| write_times(count, sink)).join());
    done.unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

fn in_a_child(count: u32, sink: &File) -> io::Result<Caller> {
    // SAFETY: this process has one thread now (any other was joined), so the child may do whatever it likes.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let code = i32::from(write_times(count, sink).is_err());
            // SAFETY: leaving is sound at any time; `_exit` runs no destructor and flushes no buffer.
            unsafe { nix::libc::_exit(code) }
        }
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, 0) => Ok(caller(child, child)),
            status => Err(io::Error::other(format!("the child ended with {status:?}"))),
        },
    }
}

fn caller(pid: Pid, tid: Pid) -> Caller {
    Caller { pid: pid.as_raw().unsigned_abs(), tid: tid.as_raw().unsigned_abs() }
}
