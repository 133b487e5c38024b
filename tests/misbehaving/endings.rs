//! Tests that end in unusual ways, or do not end.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::thread::sleep;

use nix::libc;
use nix::sys::signal::{SigHandler, Signal, kill, raise, signal};
use nix::unistd::Pid;
use rstest::rstest;

use crate::failures::FOR_EVER;

#[test]
fn crashes_pid_1() {
    let maps = fs::read_to_string("/proc/1/maps").unwrap();
    let code = maps.lines().find(|line| line.contains(" r-xp ")).unwrap();
    let (begin, end) = code.split(' ').next().unwrap().split_once('-').unwrap();
    let [begin, end] = [begin, end].map(|address| u64::from_str_radix(address, 16).unwrap());
    let mut memory = File::options().write(true).open("/proc/1/mem").unwrap();
    memory.seek(SeekFrom::Start(begin)).unwrap();
    // All its code is a breakpoint instruction from now on.
    memory.write_all(&vec![0xcc; usize::try_from(end - begin).unwrap()]).unwrap();
    sleep(FOR_EVER);
}

#[test]
fn prints_invalid_utf8() {
    // Past the harness, as a process that it starts would.
    let output = b"a line\n\xff\xfe\x00 half a line";
    // SAFETY: the buffer is as long as is said.
    let written = unsafe { libc::write(1, output.as_ptr().cast(), output.len()) };
    assert_eq!(written.cast_unsigned(), output.len());
    std::process::exit(1);
}

#[test]
fn stops_itself() {
    raise(Signal::SIGSTOP).unwrap();
}

#[test]
fn waits() {
    // So that the host sees that it has begun.
    let mut console = File::options().write(true).open("/dev/console").unwrap();
    console.write_all(b"endings: it waits\n").unwrap();
    sleep(FOR_EVER);
}

/// All that end a process (signal(7)).
#[rstest]
fn ends_by(
    #[values(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 25, 26, 27, 29, 30, 31)] number: i32,
) {
    let which = Signal::try_from(number).unwrap();
    if which != Signal::SIGKILL {
        // SAFETY: no handler is set, but the default.
        unsafe { signal(which, SigHandler::SigDfl) }.unwrap();
    }
    // To the whole process: what a thread raises may be blocked for it.
    kill(Pid::this(), which).unwrap();
    sleep(FOR_EVER);
}
