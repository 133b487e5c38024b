//! How the lab's own programs hook `write()`, and what that needs of a kernel.
//!
//! Both the guest tests and xtask are compiled with this file: the ones compare where a program is attached with its line, the
//! other has the tests of a program run only on kernels that have what it needs.

use hooklab_types::kernel::Need;

/// A way to hook `write()`: that of one program, in whatever language it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hook {
    /// The object in C, without its ending; `-rust` follows in the name of the one in Rust.
    pub(crate) object: &'static str,
    /// The section of its program.
    pub(crate) section: &'static str,
    /// What its tests need of a kernel.
    pub(crate) needs: &'static [Need],
}

/// Every way there is a program for.
pub(crate) const HOOKS: &[Hook] = &[
    Hook { object: "minimal", section: "tp/syscalls/sys_enter_write", needs: &[] },
    Hook { object: "minimal-raw-tp", section: "raw_tp/sys_enter", needs: &[] },
    Hook { object: "minimal-kprobe", section: "ksyscall/write", needs: &[Need::Kprobes] },
    Hook { object: "minimal-fentry", section: "fentry/__x64_sys_write", needs: &[Need::Btf, Need::Fentry] },
    Hook { object: "minimal-tp-btf", section: "tp_btf/sys_enter", needs: &[Need::Btf] },
    // The kernel calls programs of security modules as it calls those at the entry of functions.
    Hook {
        object: "minimal-lsm",
        section: "lsm/file_permission",
        needs: &[Need::Btf, Need::Fentry, Need::BpfLsm],
    },
];

impl Hook {
    /// That of a program as the names of tests have it: the object, and what it is written in or packed as. `None` if it is not
    /// one of the lab's own: such a program needs nothing.
    pub(crate) fn of_label(label: &str) -> Option<&'static Self> {
        let (object, _) = label.rsplit_once('-')?;
        HOOKS.iter().find(|hook| hook.object == object)
    }

    /// Whether it is hit by every access to a file that writes, and not by `write()` alone.
    pub(crate) fn sees_writev(&self) -> bool {
        self.section.starts_with("lsm/")
    }

    /// That of an object or a package, by its name in `pairs.rs`.
    pub(crate) fn of_object(object: &str) -> &'static Self {
        let name = object.trim_end_matches(".package.json").trim_end_matches("-rust");
        // What `ecc` packed is the minimal program.
        let is_it = |hook: &&Hook| hook.object == name;
        HOOKS.iter().find(is_it).unwrap_or(&HOOKS[0])
    }
}
