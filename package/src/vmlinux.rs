//! `vmlinux.h`: all types of a kernel in C, printed by libbpf from the kernel's BTF, as `bpftool btf dump` does.

use std::fs;
use std::path::{Path, PathBuf};

use libbpf_rs::btf::Btf;

use crate::Error;
use crate::c_type::Printer;

/// The name that programs include.
const NAME: &str = "vmlinux.h";

/// Before the types: accesses to their members are recorded, so that a loader can adapt them to the kernel at hand.
const BEFORE: &str = "\
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

";

/// After them.
const AFTER: &str = "\
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
";

/// Writes `vmlinux.h` into a directory, from a file with BTF: raw, as the kernel's `/sys/kernel/btf/vmlinux`, or an ELF
/// file with a section `.BTF`.
///
/// # Errors
///
/// [`Error::Btf`], [`Error::KernelType`] or [`Error::Write`].
pub fn write_vmlinux(btf: &Path, directory: &Path) -> Result<PathBuf, Error> {
    let types = Btf::from_path(btf).map_err(|source| Error::Btf { path: btf.to_owned(), source })?;
    let failed = |id| move |source| Error::KernelType { id, source };
    let mut printer = Printer::new(&types).map_err(failed(0))?;
    let mut text = BEFORE.to_owned();
    // Number 0 is `void`.
    for id in 1..u32::try_from(types.len()).unwrap_or(u32::MAX) {
        text.push_str(&printer.define(id).map_err(failed(id))?);
    }
    text.push_str(AFTER);
    let path = directory.join(NAME);
    let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, text));
    written.map_err(|source| Error::Write { path: path.clone(), source })?;
    Ok(path)
}
