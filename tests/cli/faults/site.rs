//! A place where a run meets its fault: folders of its own, programs put in front of the host's, and a look afterwards
//! at what is left.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::lab::{machines, processes, share_cache};
use crate::support::{cargo, root};

/// A test that each loader has, with the program that they all take as it is.
pub(super) const ONE: [&str; 2] = ["filter::one_pid [aya minimal-c]", "filter::one_pid [libbpf minimal-c]"];

/// How long what was killed may take to be gone.
const GONE: Duration = Duration::from_secs(2);

/// Folders and variables for runs.
pub(super) struct Site {
    folder: TempDir,
    variables: Vec<(String, OsString)>,
}

impl Site {
    /// With the user's cache, whose saved machines serve.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        Self { folder, variables: Vec::new() }
    }

    /// With the kernels and programs of the user's cache, but no machines, and nothing found out.
    pub(super) fn with_own_machines() -> Self {
        Self::without(&["machines", "composed", "accelerator.json"])
    }

    /// With the user's cache, but for these entries.
    pub(super) fn without(left_out: &[&str]) -> Self {
        let site = Self::new();
        let cache = site.path("cache");
        fs::create_dir(&cache).unwrap();
        share_cache(&cache, left_out);
        site.with("HOOKLAB_CACHE", cache)
    }

    /// With a variable of the environment.
    pub(super) fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// With a shell script in the place of QEMU; in it, `qemu` is the real one.
    pub(super) fn with_qemu(self, script: &str) -> Self {
        let name = "qemu-system-x86_64";
        let path = std::env::var_os("PATH").unwrap();
        let real = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.exists());
        let script =
            format!("#!/bin/bash\nqemu() {{ exec {} \"$@\"; }}\n{script}\n", real.unwrap().display());
        let bin = self.path("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join(name), script).unwrap();
        fs::set_permissions(bin.join(name), Permissions::from_mode(0o755)).unwrap();
        let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path))).unwrap();
        self.with("PATH", path)
    }

    /// Something in its folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `cargo xtask` with these words.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(cargo());
        command.arg("xtask").args(words).current_dir(root()).env("TMPDIR", self.path("tmp"));
        command.env("NO_COLOR", "1").env("HOOKLAB_ECLI", "none");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `vm-test` with these words, to its end. It leaves nothing behind.
    pub(super) fn run(&self, words: &[&str]) -> Ran {
        let json = self.path("out.json");
        let _ = fs::remove_file(&json);
        let output = self.command(&["vm-test"]).args(words).arg("--json").arg(&json).output().unwrap();
        self.is_clean();
        Ran { report: self.report(), ..Ran::of(&output) }
    }

    /// The JSON report of the last run; null if there is none.
    pub(super) fn report(&self) -> Value {
        let json = fs::read(self.path("out.json")).ok();
        json.map(|json| serde_json::from_slice(&json).unwrap()).unwrap_or_default()
    }

    /// `vm-test` with these words, to be interfered with.
    pub(super) fn start(&self, words: &[&str]) -> Running {
        let _ = fs::remove_file(log());
        let mut command = self.command(&["vm-test"]);
        let mut child = command
            .args(words)
            .arg("--json")
            .arg(self.path("out.json"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { child, lines: Some(lines) }
    }

    /// QEMUs of its runs.
    pub(super) fn machines(&self) -> Vec<u32> {
        machines(&self.path("tmp"))
    }

    /// Waits for a QEMU.
    pub(super) fn machine(&self) -> Pid {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            if let [first, ..] = self.machines()[..] {
                return Pid::from_raw(first.cast_signed());
            }
            assert!(Instant::now() < deadline, "no machine was started");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for words on the console of 6.12, of which nothing is known before.
    pub(super) fn hears(&self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !fs::read_to_string(log()).is_ok_and(|log| log.contains(words)) {
            assert!(Instant::now() < deadline, "{words:?} was not heard");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Neither a process nor a file is left.
    pub(super) fn is_clean(&self) {
        let deadline = Instant::now() + GONE;
        while !self.processes().is_empty() {
            assert!(Instant::now() < deadline, "left behind: {:?}", self.processes());
            std::thread::sleep(Duration::from_millis(5));
        }
        let left: Vec<_> =
            fs::read_dir(self.path("tmp")).unwrap().flatten().map(|entry| entry.path()).collect();
        assert_eq!(left, [""; 0].map(PathBuf::from));
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(self.folder.path().to_str().unwrap()), "{mounts}");
    }

    /// And the next run passes, without a hand being lifted, and leaves nothing.
    pub(super) fn goes_on(&self) {
        let next = self.run(&["-k", "6.12", ONE[0], ONE[1]]);
        assert_eq!(next.code, Some(0), "{}{}", next.stdout, next.stderr);
    }

    /// What runs with its temporary folder, by command lines.
    fn processes(&self) -> Vec<String> {
        let lines = processes(&self.path("tmp")).map(|process| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ")
        });
        // One that is just ending has no command line any more.
        lines.filter(|line| !line.is_empty()).collect()
    }
}

/// The console of the machine that runs 6.12.
fn log() -> PathBuf {
    root().join("target/hooklab/logs/6.12.log")
}

/// A run that has ended.
pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// The JSON report; null if there is none.
    pub(super) report: Value,
}

impl Ran {
    /// What a process printed, without a report.
    pub(super) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Self { code: output.status.code(), stdout, stderr, report: Value::Null }
    }

    /// The first kernel of the report.
    pub(super) fn kernel(&self) -> &Value {
        &self.report["kernels"][0]
    }

    /// Its tests, as `NAME OUTCOME`.
    pub(super) fn outcomes(&self) -> Vec<String> {
        let tests = self.kernel()["tests"].as_array().unwrap();
        tests.iter().map(|test| format!("{} {}", text(&test["name"]), text(&test["outcome"]))).collect()
    }

    /// One test of it.
    pub(super) fn test(&self, name: &str) -> &Value {
        let tests = self.kernel()["tests"].as_array().unwrap();
        tests.iter().find(|test| test["name"] == name).unwrap()
    }

    /// Why it did not pass.
    pub(super) fn message(&self, name: &str) -> &str {
        text(&self.test(name)["message"])
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A run under way.
pub(super) struct Running {
    child: Child,
    lines: Option<std::io::Lines<BufReader<ChildStdout>>>,
}

impl Running {
    /// A run whose output is somebody else's.
    pub(super) fn of(child: Child) -> Self {
        Self { child, lines: None }
    }

    /// Its PID.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub(super) fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends a signal to xtask, whose process cargo has become.
    pub(super) fn send(&self, signal: Signal) {
        signal::kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Lets go of its output.
    pub(super) fn stops_being_read(&mut self) {
        self.lines = None;
    }

    /// Its exit code; none if a signal ended it.
    pub(super) fn ends(&mut self) -> Option<i32> {
        // Read to its end, so that it never waits for us.
        self.lines.take().into_iter().flatten().for_each(drop);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    /// A test that has failed leaves no run.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
