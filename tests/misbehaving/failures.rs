//! Tests that pass, fail, hang, crash, and crash the machine.

use std::fs::{self, File};
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

pub(crate) const FOR_EVER: Duration = Duration::from_secs(1 << 30);

#[test]
fn passes() {
    // On a machine that was just restored, too.
    let mut random = [0; 8];
    File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
}

#[test]
fn fails() {
    assert_eq!(1 + 1, 3, "arithmetic");
}

#[test]
fn hangs() {
    println!("before the hang");
    sleep(FOR_EVER);
}

#[test]
fn aborts() {
    std::process::abort();
}

#[test]
fn exits_with_0_and_no_result() {
    std::process::exit(0);
}

#[test]
fn prints_after_its_result() {
    extern "C" fn print() {
        println!("printed at exit");
    }
    // SAFETY: the handler is a function that lives as long as the process, and unwinds nowhere.
    assert_eq!(unsafe { nix::libc::atexit(print) }, 0);
}

#[test]
#[should_panic = "the sky falls"]
fn should_have_panicked() {}

#[test]
fn leaves_a_process() {
    finds_no_process_and_leaves_one();
}

/// Whichever of the two runs second passes libtest only if the other's process is gone.
#[test]
fn leaves_a_process_again() {
    finds_no_process_and_leaves_one();
}

fn finds_no_process_and_leaves_one() {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let others: Vec<String> = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect();
    assert!(others.iter().all(|line| !line.contains("failures::hangs ")), "{others:?}");
    // This binary again, as a process that nobody waits for, and that no closed pipe ends.
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "failures::hangs"]).stdout(Stdio::null()).stderr(Stdio::null());
    println!("left process {}", command.spawn().unwrap().id());
}

#[test]
fn panics_the_kernel() {
    fs::write("/proc/sysrq-trigger", "c").unwrap();
    sleep(FOR_EVER);
}

#[test]
fn keeps_the_processor() {
    // A real-time process that never sleeps, on a machine with one processor, leaves nothing for the agent.
    fs::write("/proc/sys/kernel/sched_rt_runtime_us", "-1").unwrap();
    let parameter = nix::libc::sched_param { sched_priority: 99 };
    // SAFETY: the parameter lives across the call, which changes nothing but the scheduling of this thread.
    let set = unsafe { nix::libc::sched_setscheduler(0, nix::libc::SCHED_FIFO, &raw const parameter) };
    assert_eq!(set, 0);
    loop {
        std::hint::spin_loop();
    }
}
