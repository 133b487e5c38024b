//! How many machines run at once.

use std::fs;
use std::thread;

use hooklab_vm::qemu::command_line::MEMORY_MIB;

/// What QEMU itself takes beside the guest's memory, in MiB: mostly TCG's translations, which it lets grow to this
/// with a guest that small (QEMU's `accel/tcg/translate-all.c`, `DEFAULT_CODE_GEN_BUFFER_SIZE`).
const QEMU_MIB: u64 = 256;

/// As many as there are processors, if there is memory for them.
pub fn at_once() -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|meminfo| available_mib(&meminfo));
    bounded(processors, memory)
}

fn bounded(processors: usize, available_mib: Option<u64>) -> usize {
    let machine = u64::from(MEMORY_MIB) + QEMU_MIB;
    let fitting =
        available_mib.map_or(usize::MAX, |mib| usize::try_from(mib / machine).unwrap_or(usize::MAX));
    processors.min(fitting).max(1)
}

/// `MemAvailable` (proc_meminfo(5)).
fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib >> 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_bounds_what_processors_allow() {
        let available = |kib: u64| available_mib(&format!("MemTotal: 1 kB\nMemAvailable:   {kib} kB\n"));
        assert_eq!(bounded(4, available(24 << 20)), 4);
        assert_eq!(bounded(4, available(1200 << 10)), 2);
        assert_eq!(bounded(4, available(100 << 10)), 1);
        assert_eq!(bounded(4, available_mib("nothing")), 4);
    }
}
