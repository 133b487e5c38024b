//! Signals to xtask at each stage of a run, and a terminal that goes away: no machine lives on, no file is left, and what
//! another run needs is not locked.

use std::fs::{self, File};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::openpty;
use nix::sys::signal::Signal;
use nix::sys::termios::{FlowArg, tcflow};
use rstest::rstest;

use crate::support::{ONE, TestEnv, behind, misbehaving};

/// How long after a signal a run ends that cannot end by itself.
const LAST_RESORT: Duration = Duration::from_secs(10);

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
    let env = match stage {
        Stage::Downloading => TestEnv::with_own_cache(&["accelerator.json"]),
        _ => TestEnv::shared(),
    };
    let binary = misbehaving();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let mirror = format!("http://{}/debian", listener.local_addr().unwrap());
    let mut line = None;
    // While this test waits, nothing but the signal ends it.
    let wait = ["-k", "6.12", "--binary", &binary, "endings::waits", "--timeout", "3600"];
    let mut running = match stage {
        Stage::Downloading => {
            let mut running = env.start(&["-k", "6.12", ONE[0], "--mirror", &mirror]);
            // It gets no answer.
            let connect = || listener.accept().ok().map(|(stream, _)| stream);
            let stream: TcpStream = running.until("a connection to the mirror", connect);
            stream.set_nonblocking(true).unwrap();
            running.until("a request", || stream.peek(&mut [0]).is_ok_and(|length| length > 0).then_some(()));
            line = Some(stream);
            running
        }
        Stage::Booting => {
            let mut running = env.start(&[&wait[..], &["--fresh", "--boot-timeout", "3600"]].concat());
            running.machine();
            running
        }
        Stage::Testing => {
            let mut running = env.start(&wait);
            running.console_shows("endings: it waits");
            running
        }
    };
    running.send(signal);
    let code = running.ends_promptly_after(Duration::ZERO);
    assert_eq!(code, if signal == Signal::SIGKILL { None } else { Some(130) });
    if signal != Signal::SIGKILL {
        running.ended_by_itself();
    }
    env.is_clean();
    drop(line);
    TestEnv::shared().next_run_passes();
}

#[test]
fn a_terminal_that_goes_away_ends_the_run_that_it_showed() {
    let env = TestEnv::shared();
    let binary = misbehaving();
    let terminal = openpty(None, None).unwrap();
    // The run must not hold the other end itself.
    fcntl(&terminal.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    let mut command = env.command(&["vm-test", "-k", "6.12", "--binary", &binary, "endings::waits"]);
    command.args(["--timeout", "3600"]).stdin(Stdio::from(terminal.slave.try_clone().unwrap()));
    command.stdout(Stdio::from(terminal.slave.try_clone().unwrap())).stderr(Stdio::from(terminal.slave));
    let leads = || {
        nix::unistd::setsid()?;
        // SAFETY: standard input is the terminal, and the call takes no pointer.
        nix::errno::Errno::result(unsafe { nix::libc::ioctl(0, nix::libc::TIOCSCTTY, 0) })?;
        Ok(())
    };
    // SAFETY: setsid(2) and ioctl(2) alone run between fork and exec.
    let mut running = env.start_command(unsafe { command.pre_exec(leads) });
    // The command holds the terminal open, too.
    drop(command);
    let mut screen = Screen::of(terminal.master);
    running.until("the waiting test on the screen", || screen.shows("endings::waits"));
    drop(screen);
    assert_eq!(running.ends_promptly_after(Duration::ZERO), Some(130));
    env.is_clean();
    TestEnv::shared().next_run_passes();
}

#[test]
fn a_terminal_that_takes_nothing_more_holds_no_run_that_is_told_to_end() {
    let env = TestEnv::shared();
    let binary = misbehaving();
    let terminal = openpty(None, None).unwrap();
    let mut command = env.command(&["vm-test", "-k", "6.12", "--binary", &binary, "endings::waits"]);
    let [shown, told] = [(); 2].map(|()| Stdio::from(terminal.slave.try_clone().unwrap()));
    let mut running = env.start_command(command.args(["--timeout", "3600"]).stdout(shown).stderr(told));
    let mut screen = Screen::of(terminal.master);
    running.until("the waiting test on the screen", || screen.shows("endings::waits"));
    // As Ctrl-S does.
    tcflow(&terminal.slave, FlowArg::TCOOFF).unwrap();
    let pid = running.id();
    running.until("a write that is held", || writes(pid).then_some(()));
    running.send(Signal::SIGTERM);
    // What it has to say cannot be written: it ends all the same.
    assert_eq!(running.ends_promptly_after(LAST_RESORT), Some(130));
    env.is_clean();
    TestEnv::shared().next_run_passes();
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

/// What a terminal shows.
struct Screen {
    master: File,
    text: String,
}

impl Screen {
    fn of(master: OwnedFd) -> Self {
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        Self { master: File::from(master), text: String::new() }
    }

    /// Whether it shows these words by now.
    fn shows(&mut self, words: &str) -> Option<()> {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = self.master.read(&mut chunk) {
            self.text.push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
        self.text.contains(words).then_some(())
    }
}

#[rstest]
fn standard_output_that_takes_nothing_changes_no_verdict(
    #[values(">&- 2>&-", ">/dev/full 2>&1")] output: &str,
) {
    let env = TestEnv::shared();
    let command = env.vm_test_command(&["-k", "6.12", ONE[0], ONE[1]]);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$@\" {output}"), "sh"]);
    let ran = env.run_command(&mut behind(shell, &command)).exits_with(0);
    assert_eq!(ran.kernel()["outcome"], "passed");
}

#[test]
fn a_reader_that_goes_away_loses_no_report_and_changes_no_exit_code() {
    let env = TestEnv::shared();
    let mut running = env.start_unread(&["-k", "6.12", ONE[0], ONE[1]]);
    assert_eq!(running.ends(), Some(0));
    assert_eq!(env.report()["kernels"][0]["outcome"], "passed");
    env.is_clean();
}
