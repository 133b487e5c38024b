//! What a run leaves on the host: nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::TestEnv;

/// So many processes are started and awaited, one after the other, before one that still runs counts as a leftover. Whatever
/// is ending gets its share of the processor meanwhile, however busy that is: a quiet machine takes about a second.
const TURNS: usize = 1000;

impl TestEnv {
    /// Checks that a run left no process, no file and no mount.
    pub(crate) fn is_clean(&self) {
        let mut turns = 0..TURNS;
        while !self.command_lines().is_empty() && turns.next().is_some() {
            Command::new("true").status().unwrap();
        }
        let processes = self.command_lines();
        assert!(processes.is_empty(), "leftover processes: {processes:#?}");
        let entries = fs::read_dir(self.temporary()).unwrap().flatten();
        let files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        assert!(files.is_empty(), "leftover files: {files:#?}");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let directory = self.path("");
        let mut mounts = mounts.lines().filter(|mount| mount.contains(directory.to_str().unwrap()));
        assert_eq!(mounts.next(), None, "a leftover mount");
    }

    /// The command lines of what runs in this environment.
    fn command_lines(&self) -> Vec<String> {
        let lines = processes(&self.temporary()).map(|process| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ")
        });
        // One that is just ending has no command line any more.
        lines.filter(|line| !line.is_empty()).collect()
    }

    /// QEMUs of its runs that have not ended, by their PIDs.
    #[cfg(feature = "lab")]
    pub(crate) fn machines(&self) -> Vec<u32> {
        let is_qemu = |process: &PathBuf| {
            let program = fs::read_link(process.join("exe")).unwrap_or_default();
            program.to_string_lossy().contains("/qemu-system-")
        };
        let machines = processes(&self.temporary()).filter(is_qemu);
        machines.filter_map(|process| pid(&process)).collect()
    }
}

impl Drop for TestEnv {
    /// A test that has failed leaves no process, either.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let pids: Vec<u32> = processes(&self.temporary()).filter_map(|process| pid(&process)).collect();
            for pid in pids {
                let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

/// The directories in `/proc` of the processes with this temporary directory.
fn processes(temporary: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let variable = format!("TMPDIR={}", temporary.display());
    let is_ours = move |process: &PathBuf| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
    };
    fs::read_dir("/proc").unwrap().flatten().map(|process| process.path()).filter(is_ours)
}

fn pid(process: &Path) -> Option<u32> {
    process.file_name()?.to_str()?.parse().ok()
}
