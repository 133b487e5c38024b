//! The object as an ELF file: checked, and stripped of debug information.

use std::fs;
use std::path::Path;

use libbpf_rs::Linker;
use object::{Architecture, Object as _, ObjectKind};

use crate::Error;

/// Reads an object, and refuses those for which libbpf's own error says less.
///
/// The result has no debug information, only BTF. `ecc` uses `llvm-strip -g` for that, which a machine with clang may
/// lack; libbpf's linker does the same with a single object.
///
/// # Errors
///
/// [`Error::Read`], [`Error::Elf`], [`Error::NotEbpf`], [`Error::NoBtf`] or [`Error::Open`].
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    check(&fs::read(path).map_err(failed)?)?;
    let linked = tempfile::Builder::new().suffix(".o").tempfile().map_err(failed)?;
    let link = || {
        let mut linker = Linker::new(linked.path())?;
        linker.add_file(path)?;
        linker.link()
    };
    link().map_err(Error::Open)?;
    fs::read(linked.path()).map_err(failed)
}

fn check(bytes: &[u8]) -> Result<(), Error> {
    let elf = object::File::parse(bytes)?;
    if elf.architecture() != Architecture::Bpf || elf.kind() != ObjectKind::Relocatable {
        return Err(Error::NotEbpf);
    }
    if elf.section_by_name(".BTF").is_none() {
        return Err(Error::NoBtf);
    }
    Ok(())
}
