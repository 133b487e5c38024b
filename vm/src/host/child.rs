//! Child processes that do not outlive this one.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid};

/// Lets the kernel kill the child when the thread that starts it ends, for whatever reason: start it on a thread that
/// outlives it. The child inherits `kept`, under the same numbers.
pub fn die_with_us(command: &mut Command, kept: Vec<OwnedFd>) {
    let parent = getpid();
    let prepare = move || {
        for kept in &kept {
            fcntl(kept, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        set_pdeathsig(Signal::SIGKILL)?;
        // It does not apply if the parent has already ended.
        if getppid() == parent { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    };
    // SAFETY: between fork and exec only fcntl(2), prctl(2) and getppid(2) run, all async-signal-safe; nothing
    // allocates or takes a lock.
    unsafe { command.pre_exec(prepare) };
}
