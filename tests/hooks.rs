//! How the lab's own programs hook `write()`, and what that needs of a kernel.
//!
//! Both the guest tests and xtask are compiled with this file: the ones compare where a program is attached with its line, the
//! other has the tests of a program run only on kernels that have what it needs.

use hooklab_types::kernel::Need;

/// A way to hook `write()`: that of one program, in whatever language it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hook {
    /// The object in C, without its ending; `-rust` follows in the name of the one in Rust, which has a line of its own only if it
    /// is not attached as the one in C is.
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
    // aya-ebpf names the function, where C leaves that to the loader.
    Hook { object: "minimal-kprobe-rust", section: "kprobe/__x64_sys_write", needs: &[Need::Kprobes] },
    Hook { object: "minimal-fentry", section: "fentry/__x64_sys_write", needs: &[Need::Btf, Need::Fentry] },
    Hook { object: "minimal-tp-btf", section: "tp_btf/sys_enter", needs: &[Need::Btf] },
    // The kernel calls programs of security modules as it calls those at the entry of functions.
    Hook {
        object: "minimal-lsm",
        section: "lsm/file_permission",
        needs: &[Need::Btf, Need::Fentry, Need::BpfLsm],
    },
];

/// Tests whose programs aya handles in another way on a kernel that it takes for an old one.
const OTHER_WAYS: [&str; 4] = [
    "kinds::places_have_defaults",
    "kinds::records_are_decoded",
    "kinds::strictly_none_goes_where_one_cannot",
    "kinds::the_others_go_where_one_cannot",
];

/// What a test needs of a kernel, by its name, its loader and its program.
#[must_use]
pub(crate) fn needs(test: &str, loader: Option<&str>, program: Option<&str>) -> Vec<Need> {
    let hook = program.and_then(Hook::of_label);
    let mut needs = hook.map(|hook| hook.needs.to_vec()).unwrap_or_default();
    // On what it takes for an old kernel, it leaves kprobes behind and maps without names.
    if loader == Some("aya") && (needs.contains(&Need::Kprobes) || OTHER_WAYS.contains(&test)) {
        needs.push(Need::Patchlevel);
    }
    needs
}

impl Hook {
    /// That of a program as the names of tests have it: the object, and what it is written in or packed as. `None` if it is not
    /// one of the lab's own: such a program needs nothing.
    pub(crate) fn of_label(label: &str) -> Option<&'static Self> {
        let (object, _) = label.rsplit_once('-')?;
        Self::named(label).or_else(|| Self::named(object))
    }

    /// Whether it is hit by every access to a file that writes, and not by `write()` alone.
    pub(crate) fn sees_writev(&self) -> bool {
        self.section.starts_with("lsm/")
    }

    /// That of an object or a package, by its name in `pairs.rs`.
    pub(crate) fn of_object(object: &str) -> &'static Self {
        let name = object.trim_end_matches(".package.json");
        let in_c = || Self::named(name.trim_end_matches("-rust"));
        // What `ecc` packed is the minimal program.
        Self::named(name).or_else(in_c).unwrap_or(&HOOKS[0])
    }

    fn named(object: &str) -> Option<&'static Self> {
        HOOKS.iter().find(|hook| hook.object == object)
    }
}
