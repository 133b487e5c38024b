//! Features of the kernel that decide what can be run on it, found out by trying: a file that is there says less than a
//! program that was taken.
//!
//! This is here, and not in a test, so that it is done once for each kernel, before its machine is saved, whatever tests
//! are run; and it concerns whoever traces or hooks anything, by whatever means.

mod bpf;
mod btf;
mod perf;

use std::fs;
use std::path::Path;

use hooklab_protocol::Features;

/// A function that every kernel has, that is traced like any other, and that nobody calls while the guest comes up.
const FUNCTION: &str = "vfs_fsync";

/// Tries everything.
pub(crate) fn find_out() -> Features {
    let function = btf::function_id(FUNCTION).ok();
    Features {
        btf: function.is_some(),
        tracefs: ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"].iter().any(|folder| has_events(folder)),
        bpf_lsm: active_lsms().split(',').any(|name| name == "bpf"),
        bpf_jit: bpf::jited_bytes().is_ok_and(|bytes| bytes > 0),
        kprobes: perf::open_kprobe(FUNCTION).is_ok(),
        fentry: function.flatten().is_some_and(|id| bpf::attach_fentry(id).is_ok()),
    }
}

fn has_events(tracefs: &str) -> bool {
    fs::read_dir(Path::new(tracefs).join("events")).is_ok_and(|mut entries| entries.next().is_some())
}

/// Names of the security modules that are in force, separated by commas (kernel documentation, `admin-guide/LSM`).
fn active_lsms() -> String {
    fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default().trim().to_owned()
}
