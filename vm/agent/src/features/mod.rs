//! Probes the kernel's features for tracing and hooking.
//!
//! Most probes try the feature: a program that the kernel accepts proves more than a file that exists. The agent probes
//! once for each boot, before the machine is saved, whatever tests run and whatever loaders they use.

mod bpf;
mod btf;
mod perf;

use std::fs;
use std::path::Path;

use hooklab_protocol::Features;

/// A traceable function that every kernel has, and that nothing calls while the guest boots.
const FUNCTION: &str = "vfs_fsync";

/// Probes every feature.
pub(crate) fn probe() -> Features {
    let function = btf::function_id(FUNCTION).ok();
    Features {
        btf: function.is_some(),
        tracefs: ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
            .iter()
            .any(|tracefs| has_events(tracefs)),
        bpf_lsm: active_lsms().split(',').any(|name| name == "bpf"),
        bpf_jit: bpf::jited_bytes().is_ok_and(|bytes| bytes > 0),
        kprobes: perf::open_kprobe(FUNCTION).is_ok(),
        fentry: function.flatten().is_some_and(|id| bpf::attach_fentry(id).is_ok()),
    }
}

fn has_events(tracefs: &str) -> bool {
    fs::read_dir(Path::new(tracefs).join("events")).is_ok_and(|mut entries| entries.next().is_some())
}

/// Comma-separated names of the active security modules (kernel documentation, `admin-guide/LSM`).
fn active_lsms() -> String {
    fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default().trim().to_owned()
}
