//! How the lab's own programs hook `write()`, and what that needs of a kernel.
//!
//! Both the guest tests and xtask are compiled with this file: the ones compare a program with its line, the other has the tests of
//! a program run only where the kernel has what it needs.

use hooklab_types::kernel::Need;

/// A way to hook `write()`: what all programs have in common whose names begin with the same word, in whatever language they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hook {
    /// The object in C, without its ending; the one in Rust has `-rust` behind it.
    pub(crate) object: &'static str,
    /// What its tests need of a kernel.
    pub(crate) needs: &'static [Need],
}

/// Every way there is a program for. What is not in here needs nothing.
pub(crate) const HOOKS: &[Hook] = &[Hook { object: "minimal", needs: &[] }];

impl Hook {
    /// That of a program as the names of tests have it: the object, and what it is written in or packed as.
    pub(crate) fn of_label(label: &str) -> Option<&'static Self> {
        let (object, _) = label.rsplit_once('-')?;
        HOOKS.iter().find(|hook| hook.object == object)
    }
}
