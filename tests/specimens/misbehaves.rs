//! Tests that fail, hang, crash, and take the machine down.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

pub(crate) const FOR_EVER: Duration = Duration::from_secs(1 << 30);

#[test]
fn a_passes() {}

#[test]
fn b_fails() {
    assert_eq!(1 + 1, 3, "arithmetic");
}

#[test]
fn c_hangs() {
    println!("before the hang");
    sleep(FOR_EVER);
}

#[test]
fn d_aborts() {
    std::process::abort();
}

#[test]
fn e_leaves_a_child() {
    // Itself again, as a process that nobody waits for, and that no closed pipe ends.
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "misbehaves::c_hangs"]).stdout(Stdio::null()).stderr(Stdio::null());
    println!("left {} behind", command.spawn().unwrap().id());
}

#[test]
fn f_finds_no_child_of_another() {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let others: Vec<String> = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect();
    assert!(others.iter().all(|line| !line.contains("c_hangs")), "{others:?}");
}

#[test]
fn g_exits_well_without_a_word() {
    std::process::exit(0);
}

#[test]
fn h_panics_the_kernel() {
    fs::write("/proc/sysrq-trigger", "c").unwrap();
    sleep(FOR_EVER);
}

#[test]
fn i_hangs_the_machine() {
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

#[test]
fn j_passes_in_the_end() {}
