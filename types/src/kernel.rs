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

impl Features {
    /// Why a test with this need cannot run on the kernel; `None` if it can.
    pub const fn lacks(&self, need: Need) -> Option<&'static str> {
        let (has, reason) = match need {
            Need::Btf => (self.btf, "the kernel has no BTF"),
            Need::Kprobes => (self.kprobes, "no kprobe can be attached on the kernel"),
            Need::Fentry => {
                (self.fentry, "no eBPF program can be attached to the entry of a kernel function")
            }
            Need::BpfLsm => (self.bpf_lsm, "`bpf` is not among the active security modules"),
        };
        if has { None } else { Some(reason) }
    }
}

/// What a test needs of a kernel, in terms of its [`Features`]: where the kernel lacks it, the test is not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// [`Features::btf`].
    Btf,
    /// [`Features::kprobes`].
    Kprobes,
    /// [`Features::fentry`].
    Fentry,
    /// [`Features::bpf_lsm`].
    BpfLsm,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Btf => "BTF",
            Self::Kprobes => "kprobes",
            Self::Fentry => "fentry",
            Self::BpfLsm => "BPF LSM",
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_need_is_met_by_its_own_feature_alone() {
        let none = Features {
            btf: false,
            tracefs: false,
            bpf_lsm: false,
            bpf_jit: false,
            kprobes: false,
            fentry: false,
        };
        let needs = [Need::Btf, Need::Kprobes, Need::Fentry, Need::BpfLsm];
        let met = [
            Features { btf: true, ..none },
            Features { kprobes: true, ..none },
            Features { fentry: true, ..none },
            Features { bpf_lsm: true, ..none },
        ];
        for (at, need) in needs.into_iter().enumerate() {
            assert!(none.lacks(need).is_some(), "{need}");
            for (other, features) in met.iter().enumerate() {
                assert_eq!(features.lacks(need).is_none(), at == other, "{need} with {features:?}");
            }
        }
    }
}
