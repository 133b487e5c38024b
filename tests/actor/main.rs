//! `hooklab-actor`: a process whose calls of `write()` are known to the last one.
//!
//! It reads a [`Command`] from each line of standard input, a socket, and answers with the [`Caller`] once the calls are made.
//! Anything else ends it with exit code 1. It answers by `send()`, which triggers neither what hooks `write()` nor what hooks all
//! that is written to files: every further `write()` is a bug.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;

use hooklab_types::actor::{Caller, Command};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
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
    let mut line = String::new();
    while io::stdin().read_line(&mut line)? > 0 {
        answer(obey(serde_json::from_str(&line)?, &sink)?)?;
        line.clear();
    }
    Ok(())
}

/// Carries out a command, and tells who made the calls.
fn obey(command: Command, sink: &File) -> io::Result<Caller> {
    match command {
        Command::Write(count) => write_times(count, sink),
        Command::Writev(count) => writev_times(count, sink),
        Command::Thread(count) => in_a_thread(count, sink),
        Command::Fork(count) => in_a_child(count, sink),
        Command::Block => blocked(),
        Command::Release => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn answer(caller: Caller) -> io::Result<()> {
    let mut text = serde_json::to_vec(&caller)?;
    text.push(b'\n');
    send(io::stdout().as_raw_fd(), &text, MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}

fn write_times(count: u32, sink: &File) -> io::Result<Caller> {
    for _ in 0..count {
        write(sink, b".")?;
    }
    Ok(caller(getpid(), gettid()))
}

fn writev_times(count: u32, sink: &File) -> io::Result<Caller> {
    for _ in 0..count {
        writev(sink, &[IoSlice::new(b".")])?;
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

/// Writes to a full socket, which another thread empties when the next command comes, or none any more.
fn blocked() -> io::Result<Caller> {
    let (near, far) = UnixStream::pair()?;
    let filled = loop {
        match send(near.as_raw_fd(), &[0; 4096], MsgFlags::MSG_DONTWAIT) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    if filled != Errno::EAGAIN {
        return Err(filled.into());
    }
    let writer = caller(getpid(), gettid());
    answer(writer)?;
    thread::scope(|scope| {
        let emptied = scope.spawn(|| {
            let read = io::stdin().read_line(&mut String::new());
            while recv(far.as_raw_fd(), &mut [0; 4096], MsgFlags::MSG_DONTWAIT).is_ok() {}
            read.map(drop)
        });
        write(&near, b".")?;
        emptied.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })?;
    Ok(writer)
}

fn caller(pid: Pid, tid: Pid) -> Caller {
    Caller { pid: pid.as_raw().unsigned_abs(), tid: tid.as_raw().unsigned_abs() }
}
