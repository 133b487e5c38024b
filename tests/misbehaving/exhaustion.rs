//! Tests that use up what a guest has: memory, disk space, processes, the stack, the output, the clock's range.

use std::fs::File;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

use crate::failures::FOR_EVER;

#[test]
fn eats_all_memory() {
    let mut eaten = Vec::new();
    loop {
        // Not zeros: these would take no memory until they are written to.
        eaten.push(vec![1_u8; 1 << 20]);
    }
}

#[test]
fn fills_the_disk() {
    finds_space_and_fills("/tmp/full", 64);
}

/// Whichever of the two runs second fills the disk only if that was emptied before.
#[test]
fn fills_the_disk_again() {
    finds_space_and_fills("/tmp/full", 64);
}

#[test]
fn fills_the_root() {
    // It is made of memory, and has no bound of its own.
    finds_space_and_fills("/full", 16);
}

/// Whichever of the two runs second fills the root only if it runs on another machine.
#[test]
fn fills_the_root_again() {
    finds_space_and_fills("/full", 16);
}

/// Writes a file until there is no space; fails in another way if there was less than `least_mib`.
fn finds_space_and_fills(path: &str, least_mib: usize) {
    let mut file = File::create(path).unwrap();
    let chunk = vec![1_u8; 1 << 20];
    let written = (0..).take_while(|_| file.write_all(&chunk).is_ok()).count();
    assert!(written >= least_mib, "{path} took {written} MiB only");
    panic!("{path} filled the disk");
}

#[test]
fn prints_100_mb() {
    let line = [b'x'; 999];
    let mut text = line.repeat(1000);
    text.chunks_mut(999).for_each(|line| line[998] = b'\n');
    for _ in 0..100 {
        io::stdout().write_all(&text).unwrap();
    }
    println!();
}

#[test]
fn overflows_its_stack() {
    fn deeper(depth: u64) -> u64 {
        let here = std::hint::black_box([depth; 1 << 10]);
        if here[0] == u64::MAX { 0 } else { here[0] + deeper(depth + 1) }
    }
    println!("{}", deeper(0));
}

#[test]
fn forks_without_end() {
    // Itself again, and again.
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "exhaustion::forks_without_end"]).stdout(Stdio::null()).stderr(Stdio::null());
    while command.spawn().is_ok() {}
    sleep(FOR_EVER);
}

#[test]
fn sets_the_clock() {
    finds_the_clock_right_and_sets_it();
}

/// Whichever of the two runs second passes libtest only if the clock was set right before.
#[test]
fn sets_the_clock_again() {
    finds_the_clock_right_and_sets_it();
}

fn finds_the_clock_right_and_sets_it() {
    // This was written after 2026 began, and is to work until 2090.
    let years = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / (365 * 24 * 3600);
    assert!((56..120).contains(&years), "{years} years after 1970");
    for seconds in [86_400, 4_102_444_800] {
        clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(seconds, 0)).unwrap();
        sleep(Duration::from_millis(50));
    }
}
