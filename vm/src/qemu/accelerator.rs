//! The choice of an accelerator: KVM where a boot with it reached user space, TCG everywhere else.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::str::FromStr;

pub use hooklab_types::kernel::Accelerator;
use serde::{Deserialize, Serialize};

use crate::arch::{self, Arch};
use crate::host::{boot_id, write_whole};

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// KVM if it works, else TCG.
    Auto,
    /// This one, whether it works or not.
    Only(Accelerator),
}

/// The text names no choice.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no accelerator: there are auto, kvm, tcg")]
pub struct ParseChoiceError(String);

impl FromStr for Choice {
    type Err = ParseChoiceError;

    fn from_str(text: &str) -> Result<Self, ParseChoiceError> {
        match text {
            "auto" => Ok(Self::Auto),
            "kvm" => Ok(Self::Only(Accelerator::Kvm)),
            "tcg" => Ok(Self::Only(Accelerator::Tcg)),
            _ => Err(ParseChoiceError(text.to_owned())),
        }
    }
}

/// The result of a boot with KVM; valid until the host boots again or gets another QEMU.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Finding {
    boot_id: String,
    qemu: String,
    /// Why KVM cannot be used; `None` where it works.
    failure: Option<String>,
}

/// The result of a boot with KVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It reached user space.
    Works,
    /// It did not, for this reason, although the kernel is known to work.
    Fails(String),
    /// It did not, for a reason that may have nothing to do with KVM.
    Unknown(String),
}

/// An accelerator, and why KVM was not chosen if the user should know.
#[derive(Debug, PartialEq, Eq)]
pub struct Settled {
    /// What machines run with.
    pub accelerator: Accelerator,
    /// One line for the user.
    pub note: Option<String>,
}

impl Settled {
    fn tcg(why: &str) -> Self {
        let note = Some(format!(
            "KVM is not usable here ({why}): falling back to TCG, which is several times slower"
        ));
        Self { accelerator: Accelerator::Tcg, note }
    }
}

/// Settles on an accelerator. `probe` boots a kernel with KVM; it is called once for each boot of the host and version of
/// QEMU (`qemu`), and its result is cached below `cache`.
pub fn settle(choice: Choice, qemu: &str, cache: &Path, probe: impl FnOnce() -> Probe) -> Settled {
    match choice {
        Choice::Only(accelerator) => Settled { accelerator, note: None },
        Choice::Auto => auto(&arch::GUEST, Path::new("/dev/kvm"), qemu, cache, probe),
    }
}

fn auto(guest: &Arch, device: &Path, qemu: &str, cache: &Path, probe: impl FnOnce() -> Probe) -> Settled {
    if !guest.is_host() {
        return Settled::tcg(&format!("guests are {}", guest.title));
    }
    // Not cached: a group or a udev rule may change it at any time.
    if let Err(error) = OpenOptions::new().read(true).write(true).open(device) {
        return Settled::tcg(&format!("{}: {error}", device.display()));
    }
    let path = cache.join("accelerator.json");
    let finding = match cached(&path, qemu) {
        Some(finding) => finding,
        None => {
            let failure = match probe() {
                Probe::Works => None,
                Probe::Fails(why) => Some(why),
                Probe::Unknown(why) => return Settled::tcg(&why),
            };
            let finding = Finding { boot_id: boot_id(), qemu: qemu.to_owned(), failure };
            // If it cannot be cached, the next run probes again.
            if let Ok(json) = serde_json::to_vec(&finding) {
                let _ = write_whole(&path, &json);
            }
            finding
        }
    };
    match finding.failure {
        None => Settled { accelerator: Accelerator::Kvm, note: None },
        Some(why) => Settled::tcg(&why),
    }
}

fn cached(path: &Path, qemu: &str) -> Option<Finding> {
    let finding: Finding = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (finding.qemu == qemu && finding.boot_id == boot_id()).then_some(finding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail() -> Probe {
        Probe::Fails("QEMU stopped".into())
    }

    #[test]
    fn kvm_is_probed_once_for_each_version_of_qemu() {
        let cache = tempfile::tempdir().unwrap();
        let device = Path::new("/dev/null");
        let settled = auto(&arch::GUEST, device, "QEMU 7", cache.path(), fail);
        assert_eq!(settled, Settled::tcg("QEMU stopped"));
        let again =
            auto(&arch::GUEST, device, "QEMU 7", cache.path(), || unreachable!("the result is cached"));
        assert_eq!(again, settled);
        let newer = auto(&arch::GUEST, device, "QEMU 8", cache.path(), || Probe::Works);
        assert_eq!(newer, Settled { accelerator: Accelerator::Kvm, note: None });
    }

    #[test]
    fn an_unknown_result_is_not_cached() {
        let cache = tempfile::tempdir().unwrap();
        let device = Path::new("/dev/null");
        let unknown = || Probe::Unknown("interrupted".into());
        assert_eq!(auto(&arch::GUEST, device, "QEMU 7", cache.path(), unknown).accelerator, Accelerator::Tcg);
        assert_eq!(
            auto(&arch::GUEST, device, "QEMU 7", cache.path(), || Probe::Works).accelerator,
            Accelerator::Kvm
        );
    }

    #[test]
    fn a_result_from_before_the_hosts_last_boot_is_ignored() {
        let cache = tempfile::tempdir().unwrap();
        let old = Finding { boot_id: "another".into(), qemu: "QEMU 7".into(), failure: None };
        fs::write(cache.path().join("accelerator.json"), serde_json::to_vec(&old).unwrap()).unwrap();
        assert_eq!(
            auto(&arch::GUEST, Path::new("/dev/null"), "QEMU 7", cache.path(), fail).accelerator,
            Accelerator::Tcg
        );
    }

    #[test]
    fn guests_of_another_architecture_run_under_tcg_and_nothing_is_probed() {
        let cache = tempfile::tempdir().unwrap();
        let foreign = Arch { name: "another", ..arch::GUEST };
        let settled = auto(&foreign, Path::new("/dev/null"), "QEMU 7", cache.path(), || unreachable!());
        assert_eq!(settled.accelerator, Accelerator::Tcg);
    }

    #[test]
    fn without_the_device_nothing_is_probed_or_cached() {
        let cache = tempfile::tempdir().unwrap();
        let settled =
            auto(&arch::GUEST, Path::new("/nonexistent/kvm"), "QEMU 7", cache.path(), || unreachable!());
        assert_eq!(settled.accelerator, Accelerator::Tcg);
        assert!(!cache.path().join("accelerator.json").exists());
    }
}
