//! Which sections aya knows, and by what names.

use std::borrow::Cow;

use super::copy::{Change, copy};
use crate::{Hook, HookKind, Program};

/// The architecture's prefix of functions that system calls enter.
#[cfg(target_arch = "x86_64")]
const SYSCALL: &str = "__x64_sys_";
#[cfg(target_arch = "aarch64")]
const SYSCALL: &str = "__arm64_sys_";

/// How aya calls the sections of a hook; `None` if it has no such programs.
pub(super) fn prefix(hook: &Hook) -> Option<&'static str> {
    let sleepable = hook.is_sleepable();
    Some(match hook.kind {
        HookKind::Tracepoint => "tracepoint",
        HookKind::RawTracepoint => "raw_tracepoint",
        HookKind::BtfTracepoint => "tp_btf",
        HookKind::Kprobe | HookKind::Ksyscall => "kprobe",
        HookKind::Kretprobe | HookKind::Kretsyscall => "kretprobe",
        HookKind::Uprobe if sleepable => "uprobe.s",
        HookKind::Uprobe => "uprobe",
        HookKind::Uretprobe if sleepable => "uretprobe.s",
        HookKind::Uretprobe => "uretprobe",
        HookKind::Fentry if sleepable => "fentry.s",
        HookKind::Fentry => "fentry",
        HookKind::Fexit if sleepable => "fexit.s",
        HookKind::Fexit => "fexit",
        HookKind::Lsm if sleepable => "lsm.s",
        HookKind::Lsm => "lsm",
        HookKind::LsmCgroup => "lsm_cgroup",
        HookKind::PerfEvent => "perf_event",
        HookKind::Iterator if sleepable => "iter.s",
        HookKind::Iterator => "iter",
        HookKind::SocketFilter => "socket",
        HookKind::Tc => "classifier",
        HookKind::SockOps => "sockops",
        HookKind::SkLookup => "sk_lookup",
        // What follows the slash says which hook of a cgroup it is, and whether a map holds the program.
        HookKind::Xdp if hook.target.is_empty() => "",
        HookKind::Cgroup if CGROUP.contains(&hook.to_string().as_str()) => "",
        _ => return None,
    })
}

/// The sections for cgroups that aya knows.
const CGROUP: [&str; 24] = [
    "cgroup_skb/ingress",
    "cgroup_skb/egress",
    "cgroup/skb",
    "cgroup/sysctl",
    "cgroup/dev",
    "cgroup/getsockopt",
    "cgroup/setsockopt",
    "cgroup/sock",
    "cgroup/post_bind4",
    "cgroup/post_bind6",
    "cgroup/sock_create",
    "cgroup/sock_release",
    "cgroup/bind4",
    "cgroup/bind6",
    "cgroup/connect4",
    "cgroup/connect6",
    "cgroup/getpeername4",
    "cgroup/getpeername6",
    "cgroup/getsockname4",
    "cgroup/getsockname6",
    "cgroup/sendmsg4",
    "cgroup/sendmsg6",
    "cgroup/recvmsg4",
    "cgroup/recvmsg6",
];

/// The object as aya takes it: itself if it knows every section, else a [copy].
pub(super) fn readable<'a>(bytes: &'a [u8], programs: &[Program]) -> Cow<'a, [u8]> {
    if programs.iter().all(|program| change(&program.section) == Change::Keep) {
        return Cow::Borrowed(bytes);
    }
    // A file that cannot be copied is for aya to refuse, in its words.
    copy(bytes, change).map_or(Cow::Borrowed(bytes), Cow::Owned)
}

/// What becomes of a section with programs. The old name stays in the new one: no two may have the same.
fn change(section: &str) -> Change {
    let hook = Hook::from_section(section);
    match prefix(&hook) {
        None => Change::LeaveOut,
        Some("") if !hook.is_optional => Change::Keep,
        Some("") => Change::Rename(hook.to_string()),
        Some(prefix) if section.split('/').next() == Some(prefix) => Change::Keep,
        // aya reads no further than the first slash.
        Some("tracepoint") if section.starts_with("tp/") => Change::Keep,
        Some("raw_tracepoint") if section.starts_with("raw_tp/") => Change::Keep,
        Some(prefix) => Change::Rename(format!("{prefix}/{section}")),
    }
}

/// The kernel's function of a system call.
pub(super) fn syscall(name: &str) -> String {
    format!("{SYSCALL}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_that_aya_does_not_know_are_renamed_or_left_out() {
        let renamed = |name: &str| Change::Rename(name.to_owned());
        for (section, expected) in [
            ("tp/syscalls/sys_enter_write", Change::Keep),
            ("raw_tp/sys_enter", Change::Keep),
            ("kprobe/f", Change::Keep),
            ("xdp", Change::Keep),
            ("cgroup/connect4", Change::Keep),
            ("?kprobe/f", renamed("kprobe/?kprobe/f")),
            ("?xdp", renamed("xdp")),
            ("ksyscall/kill", renamed("kprobe/ksyscall/kill")),
            ("tc/egress", renamed("classifier/tc/egress")),
            ("kprobe.multi/tcp_*", Change::LeaveOut),
            ("raw_tp.w/x", Change::LeaveOut),
            ("fmod_ret/f", Change::LeaveOut),
            ("xdp/devmap", Change::LeaveOut),
            ("cgroup/connect_unix", Change::LeaveOut),
            ("struct_ops/init", Change::LeaveOut),
            ("nobody", Change::LeaveOut),
        ] {
            assert_eq!(change(section), expected, "{section}");
        }
    }
}
