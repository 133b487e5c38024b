//! Kernel warnings: those among the messages since the last check, and new taint flags.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use hooklab_protocol::MAX_KERNEL_WARNING_BYTES;
use nix::libc::O_NONBLOCK;

/// Maximum number of records to read at once: a kernel that never stops printing must not block the agent.
const RECORDS: usize = 4096;

/// Maximum number of quoted lines: a warning with its call trace has about fifty.
const QUOTED_LINES: usize = 120;

/// Prefixes of warnings (Linux: `include/asm-generic/bug.h`, `kernel/panic.c`, `kernel/locking/lockdep.c`,
/// `kernel/hung_task.c`, `kernel/rcu/tree_stall.h`, `kernel/watchdog.c`, `mm/kasan/report.c`, `lib/ubsan.c`,
/// `lib/refcount.c`, `mm/oom_kill.c`).
const PREFIXES: [&str; 19] = [
    "------------[ cut here ]------------",
    "WARNING: ",
    "BUG: ",
    "watchdog: BUG: ",
    "kernel BUG at ",
    "Oops: ",
    "general protection fault",
    "divide error: ",
    "invalid opcode: ",
    "stack segment: ",
    "INFO: task ",
    "INFO: rcu",
    "rcu: INFO: ",
    "INFO: possible ",
    "INFO: trying to register non-static key",
    "UBSAN: ",
    "refcount_t: ",
    "unregister_netdevice: waiting for ",
    // The machine as a whole is out of memory; the message about a memory cgroup has another prefix.
    "Out of memory: Killed process ",
];

/// Taint flags by their bits (kernel documentation, `admin-guide/tainted-kernels.rst`).
const TAINT_FLAGS: [&str; 20] = [
    "P (a proprietary module)",
    "F (a module was loaded by force)",
    "S (out of specification)",
    "R (a module was unloaded by force)",
    "M (machine check)",
    "B (a bad page)",
    "U (set by user space)",
    "D (an oops)",
    "A (ACPI table overridden)",
    "W (a warning)",
    "C (a staging module)",
    "I (a firmware bug worked around)",
    "O (a module from outside the tree)",
    "E (an unsigned module)",
    "L (a soft lockup)",
    "K (live-patched)",
    "X (set by the distribution)",
    "T (built with randstruct)",
    "N (an in-kernel test)",
    "J (fwctl)",
];

/// The kernel's messages since the last check.
pub(super) struct Messages {
    log: Option<File>,
    taint: u64,
}

impl Messages {
    pub(super) fn from_now_on() -> Self {
        let log = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open("/dev/kmsg");
        let log = log.and_then(|mut log| log.seek(SeekFrom::End(0)).map(|_| log)).ok();
        Self { log, taint: taint() }
    }

    /// The warnings and new taint flags since the last call; empty if there are none.
    pub(super) fn warnings(&mut self) -> String {
        let mut text = self.log.as_mut().map(|log| warnings(records(log))).unwrap_or_default();
        let taint = taint();
        let new = taint & !self.taint;
        self.taint = taint;
        if new != 0 {
            let name =
                |bit: usize| TAINT_FLAGS.get(bit).map_or_else(|| format!("bit {bit}"), |name| (*name).into());
            let flags: Vec<String> = (0..64).filter(|bit| new & (1 << bit) != 0).map(name).collect();
            text.insert_str(0, &format!("new taint flags: {}\n", flags.join(", ")));
        }
        let end = text.floor_char_boundary(MAX_KERNEL_WARNING_BYTES);
        text.truncate(end);
        text.truncate(text.trim_end().len());
        text
    }
}

fn taint() -> u64 {
    let text = fs::read_to_string("/proc/sys/kernel/tainted").unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}

/// The available records; each read returns one (kernel documentation, `ABI/testing/dev-kmsg`).
fn records(log: &mut File) -> impl Iterator<Item = String> {
    let mut record = [0; 8192];
    let next = move || loop {
        match log.read(&mut record) {
            Ok(0) => return None,
            Ok(length) => return Some(String::from_utf8_lossy(&record[..length]).into_owned()),
            // The kernel overwrote unread records; the next read returns the oldest one left.
            Err(error) if error.raw_os_error() == Some(nix::libc::EPIPE) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    };
    std::iter::from_fn(next).take(RECORDS)
}

/// The kernel's own lines, from the first warning on.
fn warnings(records: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = records.filter_map(|record| kernel_line(&record)).collect();
    let is_warning = |line: &String| PREFIXES.iter().any(|prefix| line.starts_with(prefix));
    let Some(first) = lines.iter().position(is_warning) else { return String::new() };
    lines[first..].iter().take(QUOTED_LINES).flat_map(|line| [line, "\n"]).collect()
}

/// The text of a record such as `4,1234,5678901,-;text`, which lines ` KEY=value` may follow. `None` if the record is not
/// from the kernel itself, whose facility, in the bits above the lowest three of the first number, is 0.
fn kernel_line(record: &str) -> Option<String> {
    let (head, text) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    (priority >> 3 == 0).then(|| text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings_in(records: &[&str]) -> String {
        warnings(records.iter().map(|record| (*record).to_owned()))
    }

    #[test]
    fn a_warning_is_quoted_with_what_follows_it() {
        let text = warnings_in(&[
            "6,100,1000,-;clocksource: Switched to clocksource tsc\n",
            "4,101,1001,-;------------[ cut here ]------------\n",
            "4,102,1002,-;WARNING: CPU: 0 PID: 77 at kernel/foo.c:12 foo+0x1/0x2\n SUBSYSTEM=foo\n",
            "4,103,1003,c; <TASK>\n",
        ]);
        let expected = "------------[ cut here ]------------\n\
                        WARNING: CPU: 0 PID: 77 at kernel/foo.c:12 foo+0x1/0x2\n <TASK>\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn every_kind_of_warning_is_found() {
        for text in [
            "BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "Oops: 0002 [#1] PREEMPT SMP NOPTI",
            "general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP",
            "WARNING: possible circular locking dependency detected",
            "WARNING: suspicious RCU usage",
            "BUG: sleeping function called from invalid context at mm/slab.h:400",
            "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [guest:77]",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "INFO: task guest:77 blocked for more than 120 seconds.",
            "UBSAN: array-index-out-of-bounds in kernel/foo.c:12:3",
            "Out of memory: Killed process 77 (guest) total-vm:1kB",
        ] {
            assert!(!warnings_in(&[&format!("4,1,2,-;{text}\n")]).is_empty(), "{text}");
        }
    }

    #[test]
    fn crashes_and_log_messages_of_programs_are_not_kernel_warnings() {
        let records = [
            "6,1,2,-;guest[77]: segfault at 0 ip 0000000000401000 sp 00007ffc error 4 in guest[401000+1000]\n",
            "6,2,2,-;traps: guest[77] general protection fault ip:401000 sp:7ffc error:0 in guest[401000+1000]\n",
            "6,3,2,-;traps: guest[77] trap invalid opcode ip:401000 sp:7ffc error:0\n",
            "12,4,2,-;WARNING: CPU: 0 PID: 1 at me\n",
            "3,5,2,-;Memory cgroup out of memory: Killed process 77 (guest) total-vm:1kB\n",
            "3,6,2,-;Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on\n",
        ];
        assert_eq!(warnings_in(&records), "");
    }
}
