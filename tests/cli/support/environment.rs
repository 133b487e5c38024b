//! The environment of a command: its variables, its temporary directory, its cache.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
#[cfg(feature = "lab")]
use std::sync::OnceLock;
use std::{env, fs};

use serde_json::Value;
use tempfile::TempDir;

use super::{Ran, root};

/// A test that each loader has, with the program that all of them load unchanged.
#[cfg(feature = "lab")]
pub(crate) const ONE: [&str; 2] = ["filter::one_pid [aya minimal-c]", "filter::one_pid [libbpf minimal-c]"];

/// Where kernels are fetched from, if not from where the host's own packages are.
const MIRROR: &str = "HOOKLAB_MIRROR";

/// What a test runs the command line in: a directory, a temporary directory and variables of its own.
pub(crate) struct TestEnv {
    directory: TempDir,
    variables: Vec<(&'static str, OsString)>,
    /// Whether its commands may fetch kernels.
    fetches: bool,
}

impl TestEnv {
    /// An environment with an empty cache, whose commands fetch nothing.
    pub(crate) fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("tmp")).unwrap();
        let variables = vec![("HOOKLAB_CACHE", directory.path().join("cache").into())];
        Self { directory, variables, fetches: false }
    }

    /// Adds a variable, or replaces one.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Adds a PATH on which everything is found that is on this process's, except one program. Programs may be added to
    /// `bin`.
    pub(crate) fn without_program(self, program: &str) -> Self {
        let bin = self.directory("bin");
        let path = env::var_os("PATH").unwrap();
        let entries = env::split_paths(&path).filter_map(|directory| directory.read_dir().ok());
        for entry in entries.flatten().flatten().filter(|entry| entry.file_name() != program) {
            // The first one on PATH wins, as it does for the shell.
            let _ = std::os::unix::fs::symlink(entry.path(), bin.join(entry.file_name()));
        }
        self.with("PATH", bin)
    }

    /// A path below its directory, which is removed in the end.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A new directory below its own.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let directory = self.path(name);
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// The temporary directory of its commands. Their processes are known by it.
    pub(super) fn temporary(&self) -> PathBuf {
        self.path("tmp")
    }

    /// `cargo xtask` with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.prepare(Command::new(env::var_os("CARGO").unwrap()));
        command.arg("xtask").args(arguments);
        command
    }

    /// A program in the checkout, with these variables and none of the user's that concern hooklab.
    pub(crate) fn prepare(&self, mut command: Command) -> Command {
        let users = env::vars_os().map(|(name, _)| name);
        for name in users.filter(|name| name.to_string_lossy().starts_with("HOOKLAB_")) {
            command.env_remove(name);
        }
        // There may be no other place to fetch from.
        if self.fetches
            && let Some(mirror) = env::var_os(MIRROR)
        {
            command.env(MIRROR, mirror);
        }
        command.env_remove("CI").env("NO_COLOR", "1").env("TMPDIR", self.temporary());
        // The same tests whether or not the user has one.
        command.env("HOOKLAB_ECLI", "none");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        // Not the terminal of whoever runs the tests: help is wrapped to its width.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.current_dir(root());
        command
    }

    /// Runs `cargo xtask` with these arguments to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_command(&mut self.command(arguments))
    }

    /// Runs a command to its end. It leaves nothing behind but a report, if it was asked for one.
    pub(crate) fn run_command(&self, command: &mut Command) -> Ran {
        let _ = fs::remove_file(self.json());
        let output = command.output().unwrap();
        self.is_clean();
        self.ran(output.status.code(), &output.stdout, &output.stderr, self.report())
    }

    /// Where `vm-test` of this environment writes its report.
    pub(crate) fn json(&self) -> PathBuf {
        self.path("out.json")
    }

    /// The JSON report of the last run; null if there is none.
    pub(crate) fn report(&self) -> Value {
        read(&self.json())
    }
}

/// A JSON report; null if there is none.
pub(super) fn read(json: &Path) -> Value {
    let json = fs::read(json).ok();
    json.map(|json| serde_json::from_slice(&json).unwrap()).unwrap_or_default()
}

#[cfg(feature = "lab")]
impl TestEnv {
    /// An environment with the tests' cache, whose saved machines are restored.
    pub(crate) fn shared() -> Self {
        Self::empty().with_cache(super::test_cache())
    }

    /// Sets the cache to one that has kernels, or is to get some.
    pub(crate) fn with_cache(mut self, cache: &Path) -> Self {
        self.fetches = true;
        // Room for twelve kernels' machines, and a few that were saved with an earlier agent.
        self.with("HOOKLAB_CACHE", cache).with("HOOKLAB_SAVED_MIB", "1536")
    }

    /// `vm-test` with these arguments and a report.
    pub(crate) fn vm_test_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&["vm-test"]);
        command.args(arguments).arg("--json").arg(self.json());
        command
    }

    /// Runs `vm-test` with these arguments to its end.
    pub(crate) fn vm_test(&self, arguments: &[&str]) -> Ran {
        self.run_command(&mut self.vm_test_command(arguments))
    }

    /// Checks that the next run passes, without any repair, and leaves nothing behind.
    pub(crate) fn next_run_passes(&self) {
        self.vm_test(&["-k", "6.12", ONE[0], ONE[1]]).exits_with(0);
    }
}

/// The static binary with misbehaving tests.
#[cfg(feature = "lab")]
pub(crate) fn misbehaving() -> String {
    static PATH: OnceLock<String> = OnceLock::new();
    let build = || {
        let built = TestEnv::shared().run(&["build"]).exits_with(0).stdout;
        let built = built.lines().find(|line| line.contains("/misbehaving-")).unwrap();
        built.replace("[root]", root().to_str().unwrap())
    };
    PATH.get_or_init(build).clone()
}
