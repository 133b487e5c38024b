//! Tests that use up what a guest has, or end in ways of their own.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::libc;
use nix::sys::signal::{SigHandler, Signal, raise, signal};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use rstest::rstest;

use crate::misbehaves::FOR_EVER;

#[test]
fn a_eats_all_memory() {
    let mut eaten = Vec::new();
    loop {
        // Not zeros: these would take no memory until they are written to.
        eaten.push(vec![1_u8; 1 << 20]);
    }
}

#[test]
fn b_fills_the_disk() {
    fill("/tmp/full");
    panic!("the disk is full");
}

#[test]
fn c_has_room_again() {
    fs::write("/tmp/room", vec![1_u8; 64 << 20]).unwrap();
    fs::remove_file("/tmp/room").unwrap();
}

#[test]
fn d_fills_the_root() {
    // It is made of memory, and has no bound of its own.
    fill("/full");
    panic!("the root is full");
}

fn fill(path: &str) {
    let mut file = File::create(path).unwrap();
    let chunk = vec![1_u8; 1 << 20];
    while file.write_all(&chunk).is_ok() {}
}

#[test]
fn e_takes_down_pid_1() {
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
fn f_prints_100_mb() {
    let line = [b'x'; 999];
    let mut text = line.repeat(1000);
    text.chunks_mut(999).for_each(|line| line[998] = b'\n');
    for _ in 0..100 {
        io::stdout().write_all(&text).unwrap();
    }
    println!();
}

#[test]
fn g_prints_what_is_no_text() {
    // Past the harness, as a process that it starts would.
    let said = b"a line\n\xff\xfe\x00 half a line";
    // SAFETY: the buffer is as long as is said.
    let written = unsafe { libc::write(1, said.as_ptr().cast(), said.len()) };
    assert_eq!(written.cast_unsigned(), said.len());
    std::process::exit(1);
}

#[test]
fn h_overflows_its_stack() {
    fn deeper(depth: u64) -> u64 {
        let here = std::hint::black_box([depth; 1 << 10]);
        if here[0] == u64::MAX { 0 } else { here[0] + deeper(depth + 1) }
    }
    println!("{}", deeper(0));
}

#[test]
fn i_forks_without_end() {
    // Itself again, and again.
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "abuses::i_forks_without_end"]).stdout(Stdio::null()).stderr(Stdio::null());
    while command.spawn().is_ok() {}
    sleep(FOR_EVER);
}

#[test]
fn j_sets_the_clock() {
    for seconds in [86_400, 4_102_444_800] {
        clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(seconds, 0)).unwrap();
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn k_finds_the_clock_right() {
    // This was written after 2026 began, and is to be of use until 2090.
    let years = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / (365 * 24 * 3600);
    assert!((56..120).contains(&years), "{years} years after 1970");
}

#[test]
fn l_stops_itself() {
    raise(Signal::SIGSTOP).unwrap();
}

#[test]
fn l_waits() {
    // So that the host sees that it has begun.
    let mut console = File::options().write(true).open("/dev/console").unwrap();
    console.write_all(b"abuses: it waits\n").unwrap();
    sleep(FOR_EVER);
}

/// All that end a process (signal(7)).
#[rstest]
fn m_ends_by(
    #[values(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 25, 26, 27, 29, 30, 31)] number: i32,
) {
    let which = Signal::try_from(number).unwrap();
    if which != Signal::SIGKILL {
        // SAFETY: no handler is set, but the default.
        unsafe { signal(which, SigHandler::SigDfl) }.unwrap();
    }
    // To the whole process: what a thread raises may be blocked for it.
    nix::sys::signal::kill(nix::unistd::Pid::this(), which).unwrap();
    sleep(FOR_EVER);
}

#[test]
fn n_passes_in_the_end() {
    let mut random = [0; 8];
    File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
}
