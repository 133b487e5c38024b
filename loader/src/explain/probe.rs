//! Asks the kernel what it supports, where a failure alone does not say what is missing.

use libbpf_rs::libbpf_sys;

use super::classify::Subject;
use super::kernel;

/// What the kernel supports of what a failure is about; none where it was not asked, or does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Support {
    /// The program's type.
    pub(super) program_type: Option<bool>,
    /// The type of the map that could not be created.
    pub(super) map_type: Option<bool>,
}

/// Asks about a program, and about the map that libbpf's messages are about; `map_kind` says a map's type by its name.
pub(super) fn support(subject: Option<&Subject>, map_kind: Option<u32>) -> Support {
    let asked = |kind: &u32| *kind != libbpf_sys::BPF_PROG_TYPE_UNSPEC;
    Support {
        program_type: subject.map(|subject| subject.kind).filter(asked).and_then(kernel::has_program_type),
        map_type: map_kind.and_then(kernel::has_map_type),
    }
}
