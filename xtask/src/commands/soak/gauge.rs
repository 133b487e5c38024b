//! What a run takes, and what it leaves, by what the kernel says of processes (proc(5)).

use std::fmt;
use std::fs;
use std::path::Path;

/// The most that was seen of a process.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    descriptors: usize,
    rss_mib: u64,
}

impl Gauge {
    /// Takes note of what a process has now.
    pub(super) fn look_at(&mut self, pid: u32) {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"));
        let rss_mib = rss.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or_default() >> 10;
        self.raise_to(&Self { descriptors, rss_mib });
    }

    pub(super) fn raise_to(&mut self, other: &Self) {
        self.descriptors = self.descriptors.max(other.descriptors);
        self.rss_mib = self.rss_mib.max(other.rss_mib);
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>3} descriptors {:>4} MiB", self.descriptors, self.rss_mib)
    }
}

/// The command line of a process that runs with this temporary directory.
pub(super) fn with_temporary_directory(directory: &Path) -> Option<String> {
    let variable = format!("TMPDIR={}", directory.display());
    let processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    let mut lines = processes.filter_map(|process| {
        let environment = fs::read(process.join("environ")).ok()?;
        let has = environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes());
        let line = fs::read(process.join("cmdline")).ok().filter(|line| has && !line.is_empty())?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.next()
}

/// QEMUs that a process has started.
pub(super) fn machines_of(pid: u32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<i32> =
        children.flat_map(|line| line.split(' ').flat_map(str::parse).collect::<Vec<_>>()).collect();
    let is_qemu = |pid: &i32| {
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        program.to_string_lossy().contains("/qemu-system-")
    };
    children.into_iter().filter(is_qemu).collect()
}

/// What files take in a directory and those in it.
pub(super) fn bytes_in(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
        // Files of memory have holes (stat(2): blocks of 512 bytes).
        Ok(metadata) => std::os::unix::fs::MetadataExt::blocks(&metadata) * 512,
        Err(_) => 0,
    };
    entries.map(size).sum()
}
