//! The accelerator: KVM where a boot with it reached user space, TCG everywhere else.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use hooklab_types::kernel::Accelerator;
use serde::{Deserialize, Serialize};

use crate::arch::{self, Arch};
use crate::host::{boot_id, write_whole};

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// KVM if it works, else TCG.
    Auto,
    /// This one, or an error.
    Only(Accelerator),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "kvm" => Ok(Self::Only(Accelerator::Kvm)),
            "tcg" => Ok(Self::Only(Accelerator::Tcg)),
            _ => Err(format!("{text:?} is none of auto, kvm, tcg")),
        }
    }
}

/// What a boot with KVM showed, good until the host boots again or gets another QEMU.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Finding {
    boot_id: String,
    qemu: String,
    /// Why KVM cannot be used; `None` where it works.
    failure: Option<String>,
}

/// What a boot with KVM showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It reached user space.
    Works,
    /// It did not, for this reason, though the kernel is known to be sound.
    Fails(String),
    /// It did not, and that may have nothing to do with KVM.
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

/// Settles on an accelerator. `probe` boots a kernel with KVM; it is asked once for each boot of the host and
/// version of QEMU (`qemu`), and what it found out is kept below `cache`.
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
    // Whether the device may be opened changes with a group or a udev rule: it is asked anew each time.
    if let Err(error) = OpenOptions::new().read(true).write(true).open(device) {
        return Settled::tcg(&format!("{}: {error}", device.display()));
    }
    let path = cache.join("accelerator.json");
    let finding = match remembered(&path, qemu) {
        Some(finding) => finding,
        None => {
            let failure = match probe() {
                Probe::Works => None,
                Probe::Fails(why) => Some(why),
                Probe::Unknown(why) => return Settled::tcg(&why),
            };
            let finding = Finding { boot_id: boot_id(), qemu: qemu.to_owned(), failure };
            // A finding that cannot be kept only costs the next run another probe.
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

fn remembered(path: &PathBuf, qemu: &str) -> Option<Finding> {
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
    fn a_probe_is_made_once_and_again_for_another_qemu() {
        let cache = tempfile::tempdir().unwrap();
        let device = Path::new("/dev/null");
        let settled = auto(&arch::GUEST, device, "QEMU 7", cache.path(), fail);
        assert_eq!(settled, Settled::tcg("QEMU stopped"));
        let again = auto(&arch::GUEST, device, "QEMU 7", cache.path(), || unreachable!("it is remembered"));
        assert_eq!(again, settled);
        let newer = auto(&arch::GUEST, device, "QEMU 8", cache.path(), || Probe::Works);
        assert_eq!(newer, Settled { accelerator: Accelerator::Kvm, note: None });
    }

    #[test]
    fn what_may_have_another_cause_is_not_remembered() {
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
    fn what_was_found_before_the_host_booted_again_does_not_count() {
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
    fn without_the_device_nothing_is_probed_or_remembered() {
        let cache = tempfile::tempdir().unwrap();
        let settled =
            auto(&arch::GUEST, Path::new("/nonexistent/kvm"), "QEMU 7", cache.path(), || unreachable!());
        assert_eq!(settled.accelerator, Accelerator::Tcg);
        assert!(!cache.path().join("accelerator.json").exists());
    }
}
