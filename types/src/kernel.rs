//! What runs report about a kernel and its machines.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a kernel offers to those who trace or hook it; the agent found out each by trying it in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Features {
    /// It describes its own types (`/sys/kernel/btf/vmlinux`).
    pub btf: bool,
    /// tracefs can be mounted and lists trace events.
    pub tracefs: bool,
    /// `bpf` is among the active security modules.
    pub bpf_lsm: bool,
    /// It compiles eBPF programs to machine code.
    pub bpf_jit: bool,
    /// A kprobe could be attached to a function.
    pub kprobes: bool,
    /// An eBPF program could be attached to the entry of a function.
    pub fentry: bool,
}

/// How an agent came to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// A machine booted.
    Boot,
    /// A saved machine was restored.
    Resume,
    /// On the running kernel, as an ordinary process.
    Host,
}

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The processor, through Linux's KVM.
    Kvm,
    /// QEMU's translator; works everywhere, several times slower.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}
