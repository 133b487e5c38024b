//! Signals to xtask at each stage of a run, and a terminal that goes away: no machine lives on, no file is left, and what
//! another run needs is not locked.

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::openpty;
use nix::sys::signal::Signal;
use nix::sys::termios::{FlowArg, tcflow};
use rstest::rstest;

use super::around::behind;
use super::site::{ONE, Running, Site};
use crate::support::lab::specimens;

/// What a run does when the signal comes.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// It downloads a kernel, from a mirror that does not answer.
    Downloading,
    /// Its machine boots.
    Booting,
    /// A test runs.
    Testing,
}

#[rstest]
fn a_signal_ends_a_run_and_leaves_nothing(
    #[values(Stage::Downloading, Stage::Booting, Stage::Testing)] stage: Stage,
    #[values(Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL)] signal: Signal,
) {
    let site = match stage {
        Stage::Downloading => Site::without(&["kernels", "machines"]),
        _ => Site::new(),
    };
    let binary = specimens();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mirror = format!("http://{}/debian", listener.local_addr().unwrap());
    let mut line = None;
    let wait = ["-k", "6.12", "--binary", &binary, "endings::waits", "--timeout", "60"];
    let running = match stage {
        Stage::Downloading => {
            let running = site.start(&["-k", "6.12", ONE[0], "--mirror", &mirror]);
            // Somebody is on the line, and hears nothing.
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0]).unwrap();
            line = Some(stream);
            running
        }
        Stage::Booting => {
            let running = site.start(&[&wait[..], &["--fresh"]].concat());
            site.machine();
            running
        }
        Stage::Testing => {
            let running = site.start(&wait);
            site.hears("endings: it waits");
            running
        }
    };
    let (mut running, begin) = (running, Instant::now());
    running.send(signal);
    let code = running.ends();
    assert!(begin.elapsed() < Duration::from_secs(5), "it took {:?}", begin.elapsed());
    assert_eq!(code, if signal == Signal::SIGKILL { None } else { Some(130) });
    site.is_clean();
    drop(line);
    Site::new().goes_on();
}

#[test]
fn a_terminal_that_goes_away_ends_the_run_that_it_showed() {
    let site = Site::new();
    let binary = specimens();
    let terminal = openpty(None, None).unwrap();
    // The run must not hold the other end itself.
    fcntl(&terminal.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    let mut command = site.command(&["vm-test", "-k", "6.12", "--binary", &binary, "endings::waits"]);
    command.args(["--timeout", "60"]).stdin(Stdio::from(terminal.slave.try_clone().unwrap()));
    command.stdout(Stdio::from(terminal.slave.try_clone().unwrap())).stderr(Stdio::from(terminal.slave));
    let leads = || {
        nix::unistd::setsid()?;
        // SAFETY: standard input is the terminal, and the call takes no pointer.
        nix::errno::Errno::result(unsafe { nix::libc::ioctl(0, nix::libc::TIOCSCTTY, 0) })?;
        Ok(())
    };
    // SAFETY: setsid(2) and ioctl(2) alone run between fork and exec.
    let mut child = unsafe { command.pre_exec(leads) }.spawn().unwrap();
    // The command holds the terminal open, too.
    drop(command);
    let mut master = File::from(terminal.master);
    let screen = read_until(&mut master, "endings::waits");
    drop(master);
    assert!(child.wait().unwrap().code().is_some_and(|code| code == 130), "{screen}");
    site.is_clean();
    Site::new().goes_on();
}

#[test]
fn a_terminal_that_takes_nothing_more_holds_no_run_that_is_told_to_end() {
    let site = Site::new();
    let binary = specimens();
    let terminal = openpty(None, None).unwrap();
    let mut command = site.command(&["vm-test", "-k", "6.12", "--binary", &binary, "endings::waits"]);
    let [shown, told] = [(); 2].map(|()| Stdio::from(terminal.slave.try_clone().unwrap()));
    let mut running =
        Running::of(command.args(["--timeout", "60"]).stdout(shown).stderr(told).spawn().unwrap());
    let mut master = File::from(terminal.master);
    read_until(&mut master, "endings::waits");
    // As Ctrl-S does.
    tcflow(&terminal.slave, FlowArg::TCOOFF).unwrap();
    let begin = Instant::now();
    while !writes(running.id()) {
        assert!(begin.elapsed() < Duration::from_secs(20), "it is not held");
        sleep(Duration::from_millis(5));
    }
    let begin = Instant::now();
    running.send(Signal::SIGTERM);
    while !running.is_over() {
        assert!(begin.elapsed() < Duration::from_secs(15), "it does not end");
        sleep(Duration::from_millis(5));
    }
    assert_eq!(running.ends(), Some(130));
    site.is_clean();
    Site::new().goes_on();
}

/// Whether one of a process's threads is in write(2), and stays there for a moment (proc(5), `/proc/pid/syscall`).
fn writes(pid: u32) -> bool {
    let held = || {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let mut calls = threads.filter_map(|thread| fs::read_to_string(thread.path().join("syscall")).ok());
        calls.find(|call| call.starts_with(&format!("{} ", nix::libc::SYS_write)))
    };
    let first = held();
    sleep(Duration::from_millis(200));
    first.is_some() && first == held()
}

/// What a terminal shows until it shows these words.
fn read_until(master: &mut File, words: &str) -> String {
    let mut screen = String::new();
    while !screen.contains(words) {
        let mut chunk = [0; 4096];
        let length = master.read(&mut chunk).unwrap();
        screen.push_str(&String::from_utf8_lossy(&chunk[..length]));
    }
    screen
}

#[rstest]
fn standard_output_that_takes_nothing_changes_no_verdict(
    #[values(">&- 2>&-", ">/dev/full 2>&1")] output: &str,
) {
    let site = Site::new();
    let mut command = site.command(&["vm-test", "-k", "6.12", ONE[0], ONE[1], "--json"]);
    command.arg(site.path("out.json"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$@\" {output}"), "sh"]);
    let mut closed = behind(shell, &command);
    assert_eq!(closed.status().unwrap().code(), Some(0));
    assert_eq!(site.report()["kernels"][0]["outcome"], "passed");
    site.is_clean();
}

#[test]
fn a_reader_that_goes_away_loses_no_report_and_changes_no_exit_code() {
    let site = Site::new();
    let mut running = site.start(&["-k", "6.12", ONE[0], ONE[1]]);
    running.stops_being_read();
    assert_eq!(running.ends(), Some(0));
    assert_eq!(site.report()["kernels"][0]["outcome"], "passed");
    site.is_clean();
}
