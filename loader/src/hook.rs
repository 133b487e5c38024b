//! The hook of a program, read from the name of its section.
//!
//! The names are libbpf's (`section_defs` in its `libbpf.c`). Whether the rest of a name makes sense is for the loader to say.

use std::fmt;

/// The hook in the kernel that a program attaches to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// What kind of hook it is.
    pub kind: HookKind,
    /// What follows the first slash: a function, an event, a direction; empty if nothing does.
    pub target: String,
    /// What precedes it, in the shorter of two spellings.
    prefix: String,
    /// Whether the section's name starts with `?`: the program is loaded only if somebody asks for it.
    pub is_optional: bool,
}

/// The kinds of hooks, as sections name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named as its section is")]
pub enum HookKind {
    Tracepoint,
    RawTracepoint,
    RawTracepointWritable,
    BtfTracepoint,
    Kprobe,
    Kretprobe,
    Ksyscall,
    Kretsyscall,
    KprobeMulti,
    Uprobe,
    Uretprobe,
    UprobeMulti,
    Usdt,
    Fentry,
    Fexit,
    FmodRet,
    Lsm,
    LsmCgroup,
    PerfEvent,
    Iterator,
    SocketFilter,
    Xdp,
    Tc,
    TcAction,
    Cgroup,
    SockOps,
    SkMsg,
    SkSkb,
    SkLookup,
    FlowDissector,
    Netfilter,
    StructOps,
    Extension,
    Syscall,
    /// A section that is not in this list, or one whose program nothing here attaches.
    Other,
}

/// Spelling of the first part of a section's name, what it means, and the shorter spelling.
const PREFIXES: &[(&str, HookKind, &str)] = &[
    ("tp", HookKind::Tracepoint, "tp"),
    ("tracepoint", HookKind::Tracepoint, "tp"),
    ("raw_tp", HookKind::RawTracepoint, "raw_tp"),
    ("raw_tracepoint", HookKind::RawTracepoint, "raw_tp"),
    ("raw_tp.w", HookKind::RawTracepointWritable, "raw_tp.w"),
    ("raw_tracepoint.w", HookKind::RawTracepointWritable, "raw_tp.w"),
    ("tp_btf", HookKind::BtfTracepoint, "tp_btf"),
    ("kprobe", HookKind::Kprobe, "kprobe"),
    ("kretprobe", HookKind::Kretprobe, "kretprobe"),
    ("ksyscall", HookKind::Ksyscall, "ksyscall"),
    ("kretsyscall", HookKind::Kretsyscall, "kretsyscall"),
    ("kprobe.multi", HookKind::KprobeMulti, "kprobe.multi"),
    ("kretprobe.multi", HookKind::KprobeMulti, "kretprobe.multi"),
    ("kprobe.session", HookKind::KprobeMulti, "kprobe.session"),
    ("uprobe", HookKind::Uprobe, "uprobe"),
    ("uprobe.s", HookKind::Uprobe, "uprobe.s"),
    ("uretprobe", HookKind::Uretprobe, "uretprobe"),
    ("uretprobe.s", HookKind::Uretprobe, "uretprobe.s"),
    ("uprobe.multi", HookKind::UprobeMulti, "uprobe.multi"),
    ("uprobe.multi.s", HookKind::UprobeMulti, "uprobe.multi.s"),
    ("uretprobe.multi", HookKind::UprobeMulti, "uretprobe.multi"),
    ("uretprobe.multi.s", HookKind::UprobeMulti, "uretprobe.multi.s"),
    ("uprobe.session", HookKind::UprobeMulti, "uprobe.session"),
    ("uprobe.session.s", HookKind::UprobeMulti, "uprobe.session.s"),
    ("usdt", HookKind::Usdt, "usdt"),
    ("usdt.s", HookKind::Usdt, "usdt.s"),
    ("fentry", HookKind::Fentry, "fentry"),
    ("fentry.s", HookKind::Fentry, "fentry.s"),
    ("fexit", HookKind::Fexit, "fexit"),
    ("fexit.s", HookKind::Fexit, "fexit.s"),
    ("fmod_ret", HookKind::FmodRet, "fmod_ret"),
    ("fmod_ret.s", HookKind::FmodRet, "fmod_ret.s"),
    ("lsm", HookKind::Lsm, "lsm"),
    ("lsm.s", HookKind::Lsm, "lsm.s"),
    ("lsm_cgroup", HookKind::LsmCgroup, "lsm_cgroup"),
    ("perf_event", HookKind::PerfEvent, "perf_event"),
    ("iter", HookKind::Iterator, "iter"),
    ("iter.s", HookKind::Iterator, "iter.s"),
    ("socket", HookKind::SocketFilter, "socket"),
    ("xdp", HookKind::Xdp, "xdp"),
    ("xdp.frags", HookKind::Xdp, "xdp.frags"),
    ("tc", HookKind::Tc, "tc"),
    ("tcx", HookKind::Tc, "tcx"),
    ("classifier", HookKind::Tc, "classifier"),
    ("action", HookKind::TcAction, "action"),
    ("cgroup", HookKind::Cgroup, "cgroup"),
    ("cgroup_skb", HookKind::Cgroup, "cgroup_skb"),
    ("sockops", HookKind::SockOps, "sockops"),
    ("sk_msg", HookKind::SkMsg, "sk_msg"),
    ("sk_skb", HookKind::SkSkb, "sk_skb"),
    ("sk_lookup", HookKind::SkLookup, "sk_lookup"),
    ("flow_dissector", HookKind::FlowDissector, "flow_dissector"),
    ("netfilter", HookKind::Netfilter, "netfilter"),
    ("struct_ops", HookKind::StructOps, "struct_ops"),
    ("struct_ops.s", HookKind::StructOps, "struct_ops.s"),
    ("freplace", HookKind::Extension, "freplace"),
    ("syscall", HookKind::Syscall, "syscall"),
];

impl Hook {
    /// Parses a section's name, such as `tracepoint/CATEGORY/NAME` or `?kprobe/FUNCTION`. Every name is a hook, if only one of
    /// kind [`HookKind::Other`].
    pub fn from_section(section: &str) -> Self {
        let name = section.strip_prefix('?');
        let (prefix, target) = split(name.unwrap_or(section));
        let (kind, prefix) = match PREFIXES.iter().find(|(spelling, ..)| *spelling == prefix) {
            Some((_, kind, short)) => (*kind, *short),
            None => (HookKind::Other, prefix),
        };
        Self { kind, target: target.to_owned(), prefix: prefix.to_owned(), is_optional: name.is_some() }
    }

    /// The category and the name of a tracepoint: `None` for other hooks, and for names that tracefs cannot have.
    ///
    /// Both become components of a path in tracefs, so neither may be empty, start with a dot, or contain a slash.
    pub fn tracepoint(&self) -> Option<(&str, &str)> {
        let (category, name) = self.target.split_once('/')?;
        let is_component = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('/');
        let sound = self.kind == HookKind::Tracepoint && is_component(category) && is_component(name);
        sound.then_some((category, name))
    }

    /// The file and the function of a uprobe, as far as its section names them: `FILE:FUNCTION`, or a function alone.
    pub fn file_and_function(&self) -> (Option<&str>, Option<&str>) {
        let named = |text: &'_ str| !text.is_empty();
        match self.target.rsplit_once(':') {
            Some((file, function)) => {
                (Some(file).filter(|text| named(text)), Some(function).filter(|text| named(text)))
            }
            None => (None, Some(self.target.as_str()).filter(|text| named(text))),
        }
    }

    /// Whether the program runs when the hooked function returns.
    pub fn is_return(&self) -> bool {
        ["kret", "uret"].iter().any(|start| self.prefix.starts_with(start))
    }

    /// Whether the program may sleep.
    pub fn is_sleepable(&self) -> bool {
        self.prefix.ends_with(".s")
    }

    /// Whether the program is for outgoing packets.
    pub fn is_egress(&self) -> bool {
        self.target.split('/').next() == Some("egress")
    }
}

/// Splits at the first slash.
fn split(section: &str) -> (&str, &str) {
    section.split_once('/').unwrap_or((section, ""))
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, target, .. } = self;
        if target.is_empty() { f.write_str(prefix) } else { write!(f, "{prefix}/{target}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_mean_the_same() {
        for (long, short) in [
            ("tracepoint/syscalls/sys_enter_write", "tp/syscalls/sys_enter_write"),
            ("raw_tracepoint/sys_enter", "raw_tp/sys_enter"),
            ("raw_tracepoint.w/x", "raw_tp.w/x"),
        ] {
            assert_eq!(Hook::from_section(long), Hook::from_section(short));
            assert_eq!(Hook::from_section(long).to_string(), short);
        }
    }

    #[test]
    fn every_section_has_its_kind() {
        for (section, kind, target) in [
            ("raw_tp/sys_enter", HookKind::RawTracepoint, "sys_enter"),
            ("raw_tp.w/x", HookKind::RawTracepointWritable, "x"),
            ("tp_btf/sched_switch", HookKind::BtfTracepoint, "sched_switch"),
            ("kprobe/ksys_write", HookKind::Kprobe, "ksys_write"),
            ("kprobe.multi/tcp_*", HookKind::KprobeMulti, "tcp_*"),
            ("kretsyscall/kill", HookKind::Kretsyscall, "kill"),
            ("fentry.s/x", HookKind::Fentry, "x"),
            ("fmod_ret/x", HookKind::FmodRet, "x"),
            ("lsm.s/bprm_check_security", HookKind::Lsm, "bprm_check_security"),
            ("lsm_cgroup/socket_bind", HookKind::LsmCgroup, "socket_bind"),
            ("uretprobe/libc.so.6:malloc", HookKind::Uretprobe, "libc.so.6:malloc"),
            ("usdt/libc.so.6:libc:setjmp", HookKind::Usdt, "libc.so.6:libc:setjmp"),
            ("perf_event", HookKind::PerfEvent, ""),
            ("iter/task", HookKind::Iterator, "task"),
            ("socket", HookKind::SocketFilter, ""),
            ("xdp.frags/devmap", HookKind::Xdp, "devmap"),
            ("tc/egress", HookKind::Tc, "egress"),
            ("classifier", HookKind::Tc, ""),
            ("cgroup/connect4", HookKind::Cgroup, "connect4"),
            ("cgroup_skb/egress", HookKind::Cgroup, "egress"),
            ("struct_ops.s/init", HookKind::StructOps, "init"),
            ("freplace/x", HookKind::Extension, "x"),
            ("socketx", HookKind::Other, ""),
            ("", HookKind::Other, ""),
        ] {
            let hook = Hook::from_section(section);
            assert_eq!((hook.kind, hook.target.as_str()), (kind, target), "{section}");
            assert_eq!((hook.to_string().as_str(), hook.is_optional), (section, false));
        }
    }

    #[test]
    fn a_question_mark_makes_it_optional() {
        let hook = Hook::from_section("?tp/a/b");
        assert!(hook.is_optional);
        assert_eq!(hook.tracepoint(), Some(("a", "b")));
        assert_eq!(hook.to_string(), "tp/a/b");
    }

    #[test]
    fn names_that_tracefs_cannot_have_are_no_tracepoints() {
        for section in ["kprobe/a/b", "tp", "tp/", "tp/syscalls", "tp//x", "tp/x/", "tp/a/b/c", "tp/../x"] {
            assert_eq!(Hook::from_section(section).tracepoint(), None, "{section}");
        }
    }

    #[test]
    fn uprobes_name_a_file_a_function_or_neither() {
        for (section, expected) in [
            ("uprobe", (None, None)),
            ("uprobe/f", (None, Some("f"))),
            ("uprobe//bin/sh:f", (Some("/bin/sh"), Some("f"))),
            ("uprobe/:f", (None, Some("f"))),
            ("uprobe/libc.so.6:f+4", (Some("libc.so.6"), Some("f+4"))),
        ] {
            assert_eq!(Hook::from_section(section).file_and_function(), expected, "{section}");
        }
    }

    #[test]
    fn returns_and_directions() {
        let hook = Hook::from_section;
        assert!(hook("kretprobe/f").is_return() && hook("uretprobe.s").is_return());
        assert!(!hook("kprobe/kret").is_return());
        assert!(hook("tcx/egress").is_egress() && !hook("tc/ingress").is_egress() && !hook("tc").is_egress());
    }
}
