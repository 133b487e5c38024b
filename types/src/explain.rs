//! What `hooklab explain` finds out about an object on a kernel: its helper's job in the guest, the files that the helper
//! answers with, and the part of a report that comes of them.

use serde::{Deserialize, Serialize};

use crate::loader::{Cost, LoaderKind};

/// Name of the environment variable with the [`Job`], as JSON.
pub const JOB_VARIABLE: &str = "HOOKLAB_EXPLAIN_JOB";

/// Directory of the payload for the answers: in a subdirectory for each unit, by its place in the job, a file
/// [`OBJECT_FILE`], and for each program a [`ProgramAnswer`] in `N.json` and the verifier's log in `N.log`.
pub const DIRECTORY: &str = "explained";

/// The file with the [`ObjectAnswer`].
pub const OBJECT_FILE: &str = "object.json";

/// What the helper is to try; each unit is one of its tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Whether to attach the programs that load.
    pub attach: bool,
    /// The objects, each with a loader.
    pub units: Vec<Unit>,
}

/// One object with one loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// The name of the test.
    pub test: String,
    /// The object's file, relative to the payload.
    pub file: String,
    /// What loads it.
    pub loader: LoaderKind,
}

/// What the helper learned of an object as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectAnswer {
    /// How many [`ProgramAnswer`]s belong to it.
    pub programs: usize,
    /// Why none of its programs could be tried, if so.
    pub cause: Option<Cause>,
    /// Its maps and unread globals.
    pub details: ObjectDetails,
}

/// What the helper learned of a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgramAnswer {
    /// The function.
    pub name: String,
    /// What it cost, if it was loaded.
    pub cost: Cost,
    /// How it went.
    pub explained: Explained,
}

/// How it went with a program on a kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Explained {
    /// The ELF section, which says what kind of program it is and where it attaches.
    pub section: String,
    /// The program type, such as `tracepoint`; null if the loader derives none from the section.
    #[serde(default)]
    pub kind: Option<String>,
    /// How far it came.
    pub verdict: Verdict,
    /// Why it came no further; null if nothing stood in its way.
    #[serde(default)]
    pub cause: Option<Cause>,
    /// Seconds that the kernel took to load it.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// The verifier's log, if it refused the program; the middle of a long one is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// How far a program came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was not tried: the loader could not open its object, or left the program out.
    NotTried,
    /// It did not load.
    Refused,
    /// It loaded, and did not attach, or attached to what the kernel never calls.
    NotAttached,
    /// It loaded. Whether it attaches was not asked, or the loader does not attach its kind by itself.
    Loaded,
    /// It loaded, and attached.
    Attached,
}

impl Verdict {
    /// Whether nothing stood in the program's way.
    pub const fn is_fine(self) -> bool {
        matches!(self, Self::Loaded | Self::Attached)
    }
}

/// Why a program does not load or attach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cause {
    /// What kind of cause.
    pub class: CauseClass,
    /// The cause in one line.
    pub text: String,
    /// The line of the source that the verifier came to last, with its place, as in `x = *p; @ a.bpf.c:12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The instruction that the verifier came to last, as in `7: (79) r0 = *(u64 *)(r1 +16000)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
}

/// Kinds of causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CauseClass {
    /// The verifier does not find the program safe.
    Verifier,
    /// The kernel does not have the program type, or the attach type.
    ProgramType,
    /// The kernel does not have a helper function, or not for this program type.
    Helper,
    /// The kernel does not have a kernel function or variable that the program uses, or not for this program type.
    Kfunc,
    /// The kernel does not have a map type, or not with these sizes and flags.
    MapType,
    /// What the program attaches to is not there.
    AttachTarget,
    /// A type or field whose offset is to be looked up is not in the kernel's BTF.
    CoreRelocation,
    /// BTF is missing, in the kernel or in the object.
    NoBtf,
    /// `bpf` is not among the active LSMs: the kernel never calls the program.
    LsmInactive,
    /// The program or a map is larger or more complex than the kernel takes.
    TooLarge,
    /// Memory was short.
    OutOfMemory,
    /// The process may not do this.
    NotPermitted,
    /// Something else.
    Other,
}

impl CauseClass {
    /// The name, as reports and tables have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verifier => "verifier",
            Self::ProgramType => "program-type",
            Self::Helper => "helper",
            Self::Kfunc => "kfunc",
            Self::MapType => "map-type",
            Self::AttachTarget => "attach-target",
            Self::CoreRelocation => "core-relocation",
            Self::NoBtf => "no-btf",
            Self::LsmInactive => "lsm-inactive",
            Self::TooLarge => "too-large",
            Self::OutOfMemory => "out-of-memory",
            Self::NotPermitted => "not-permitted",
            Self::Other => "other",
        }
    }
}

/// What is known of an object beside its programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ObjectDetails {
    /// Its maps, also those that the loader makes of global variables.
    pub maps: Vec<Map>,
    /// Global variables that no instruction reads: setting one has no effect.
    pub unread_globals: Vec<String>,
}

/// A map of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Map {
    /// The variable, or the section of the global variables.
    pub name: String,
    /// The map type, such as `hash`.
    pub kind: String,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// The most entries it can have.
    pub max_entries: u32,
    /// Bytes that the kernel accounts for it; null if it was not created.
    pub bytes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_called_the_same_in_json_and_in_tables() {
        for class in [CauseClass::CoreRelocation, CauseClass::NoBtf, CauseClass::Verifier, CauseClass::Other]
        {
            assert_eq!(serde_json::to_string(&class).unwrap(), format!("{:?}", class.name()));
        }
    }

    #[test]
    fn only_what_is_in_the_kernel_is_fine() {
        assert!(Verdict::Loaded.is_fine() && Verdict::Attached.is_fine());
        assert!(
            ![Verdict::NotTried, Verdict::Refused, Verdict::NotAttached].into_iter().any(Verdict::is_fine)
        );
    }
}
