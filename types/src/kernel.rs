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
            Need::Patchlevel => return None,
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
    /// A release of three numbers, such as `6.12.1`: from Debian's names of release candidates (`7.3-cloud-amd64`, and `7.3~rc7` in
    /// the version) aya cannot read which kernel it is, and takes it for one from before 4.15.
    Patchlevel,
}

impl Need {
    /// Why a test with this need cannot run on a kernel with these features, whose release is what `uname -r` prints; `None` if it
    /// can.
    pub fn unmet(self, features: &Features, release: &str) -> Option<&'static str> {
        match self {
            Self::Patchlevel if numbers(release) < 3 => {
                Some("the kernel's release has no third number, without which aya takes it for an old one")
            }
            need => features.lacks(need),
        }
    }
}

/// How many numbers a release starts with.
fn numbers(release: &str) -> usize {
    let version = release.split('-').next().unwrap_or_default();
    version.split('.').take_while(|part| part.starts_with(|first: char| first.is_ascii_digit())).count()
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Btf => "BTF",
            Self::Kprobes => "kprobes",
            Self::Fentry => "fentry",
            Self::BpfLsm => "BPF LSM",
            Self::Patchlevel => "a release of three numbers",
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
    fn a_release_of_three_numbers_is_known_by_its_name() {
        let features =
            Features { btf: true, tracefs: true, bpf_lsm: true, bpf_jit: true, kprobes: true, fentry: true };
        let unmet = |release| Need::Patchlevel.unmet(&features, release);
        assert_eq!(unmet("5.10.0-46-cloud-amd64"), None);
        assert_eq!(unmet("6.12.117+deb13-amd64"), None);
        assert_eq!(unmet("7.3.0-rc7"), None);
        assert!(unmet("7.3-cloud-amd64").is_some());
        assert_eq!(Need::Btf.unmet(&features, "7.3-cloud-amd64"), None);
    }

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
