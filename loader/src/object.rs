//! The content of a compiled eBPF object: its programs, their hooks, its globals.
//!
//! The format is documented in the kernel's `Documentation/bpf/llvm_reloc.rst` (relocations) and
//! `Documentation/bpf/btf.rst` (`.BTF.ext`).

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use object::{
    Architecture, Endianness, FileKind, Object as _, ObjectKind, ObjectSection as _, ObjectSymbol as _,
    RelocationFlags, RelocationTarget, SectionFlags, SectionIndex, SymbolKind, elf,
};

use crate::package::LARGEST_PACKAGE;
use crate::{Error, Hook, Package};

/// The size of an eBPF instruction in bytes; `ld_imm64` takes two of them.
const INSTRUCTION: u64 = 8;
/// Where an instruction has its 32-bit immediate value, in bytes from its start.
const IMMEDIATE: u64 = 4;
/// The largest file that is read, in bytes. Real objects have some kilobytes.
const LARGEST: u64 = LARGEST_PACKAGE;

/// An eBPF object, inspected, with its bytes.
#[derive(Debug)]
pub struct Object {
    path: PathBuf,
    bytes: Vec<u8>,
    package: Option<Vec<u8>>,
    programs: Vec<Program>,
}

/// A function that the kernel can attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The function's name.
    pub name: String,
    /// Its section, as the object spells it.
    pub section: String,
    /// The hook that its section names.
    pub hook: Hook,
}

/// A global variable of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Global {
    /// The variable's name.
    pub name: String,
    /// Its section, such as `.rodata`.
    pub section: String,
    /// Its offset from the start of the section, in bytes.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Whether any instruction loads its address. If none does, setting it has no effect.
    pub is_read: bool,
}

impl Object {
    /// Reads a file, an object or a package, and inspects it.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`], [`Error::BadPackage`], and the errors of [`Object::parse`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
        let refuse = |what: String| Err(Error::NotEbpf { path: path.to_owned(), what });
        // A directory opens, opening a pipe may block, and a device never ends: accept only regular files.
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if !metadata.is_file() {
            return refuse("it is not a regular file".to_owned());
        }
        if metadata.len() > LARGEST {
            return refuse(format!("it is larger than {} MiB", LARGEST >> 20));
        }
        let mut bytes = Vec::new();
        // The file may have grown since.
        let file = File::open(path).map_err(unreadable)?;
        file.take(LARGEST).read_to_end(&mut bytes).map_err(unreadable)?;
        if !Package::is_meant(path, &bytes) {
            return Self::parse(path, bytes);
        }
        let package = Package::decode(&bytes)
            .map_err(|source| Error::BadPackage { path: path.to_owned(), source: Box::new(source) })?;
        let object = Self::parse(path, package.object).map_err(|error| match error {
            Error::NotEbpf { path, what } => {
                Error::NotEbpf { path, what: format!("as to the object in it, {what}") }
            }
            error => error,
        })?;
        Ok(Self { package: Some(bytes), ..object })
    }

    /// Inspects the bytes of an object; `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`Error::NotEbpf`] or [`Error::NoProgram`].
    pub fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, Error> {
        let programs = find_programs(path, &parse_elf(path, &bytes)?)?;
        Ok(Self { path: path.to_owned(), bytes, package: None, programs })
    }

    /// The path that the user gave.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ELF file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The package that the object came in, as text that [`Package::decode`] takes; `None` if it came alone.
    pub fn package(&self) -> Option<&[u8]> {
        self.package.as_deref()
    }

    /// The programs, in the order of their sections; at least one.
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// Finds a global variable by its name.
    ///
    /// # Errors
    ///
    /// [`Error::NotEbpf`] if the object is damaged where [`Object::parse`] did not look.
    pub fn global(&self, name: &str) -> Result<Option<Global>, Error> {
        let elf = parse_elf(&self.path, &self.bytes)?;
        let Some(symbol) =
            elf.symbols().find(|symbol| symbol.kind() == SymbolKind::Data && symbol.name() == Ok(name))
        else {
            return Ok(None);
        };
        let Some(section) = symbol.section_index().and_then(|index| elf.section_by_index(index).ok()) else {
            return Ok(None);
        };
        let mut global = Global {
            name: name.to_owned(),
            section: section.name().unwrap_or_default().to_owned(),
            offset: symbol.address(),
            size: symbol.size(),
            is_read: false,
        };
        global.is_read = loaded_addresses(&elf, section.index())
            .any(|at| at >= global.offset && at - global.offset < global.size);
        Ok(Some(global))
    }

    /// The names of the global variables, in the order of the symbols.
    pub fn globals(&self) -> Vec<String> {
        let Ok(elf) = object::File::parse(&*self.bytes) else { return Vec::new() };
        let is_data =
            |section: &str| [".rodata", ".data", ".bss"].iter().any(|start| section.starts_with(start));
        let is_global = |symbol: &object::Symbol<'_, '_>| {
            let section = symbol.section_index().and_then(|index| elf.section_by_index(index).ok());
            symbol.kind() == SymbolKind::Data
                && section.is_some_and(|section| section.name().is_ok_and(is_data))
        };
        let globals = elf.symbols().filter(is_global);
        globals.filter_map(|symbol| symbol.name().ok().map(str::to_owned)).collect()
    }

    /// The names of the maps that the object defines.
    pub fn map_names(&self) -> Vec<String> {
        let Ok(elf) = object::File::parse(&*self.bytes) else { return Vec::new() };
        let Some(maps) = elf.section_by_name(".maps") else { return Vec::new() };
        let symbols = elf.symbols().filter(|symbol| symbol.section_index() == Some(maps.index()));
        symbols
            .filter_map(|symbol| symbol.name().ok().filter(|name| !name.is_empty()).map(str::to_owned))
            .collect()
    }

    /// The only struct that the package exports as what the program sends.
    pub fn exported_type(&self) -> Option<String> {
        let package = Package::decode(self.package.as_ref()?).ok()?;
        match package.meta.get("export_types")?.as_array()?.as_slice() {
            [only] => only.get("name")?.as_str().map(str::to_owned),
            _ => None,
        }
    }

    /// Whether the object needs offsets looked up in the kernel's BTF (CO-RE).
    pub fn has_core_relocations(&self) -> bool {
        let section = object::File::parse(&*self.bytes).ok().and_then(|elf| {
            let section = elf.section_by_name(".BTF.ext")?;
            Some(has_core_relocations(section.data().ok()?))
        });
        section.unwrap_or(false)
    }
}

/// Reads the header and refuses what is not for eBPF on this machine.
fn parse_elf<'a>(path: &Path, bytes: &'a [u8]) -> Result<object::File<'a>, Error> {
    let refuse = |what: String| Err(Error::NotEbpf { path: path.to_owned(), what });
    if !matches!(FileKind::parse(bytes), Ok(FileKind::Elf32 | FileKind::Elf64)) {
        return refuse("it is not an ELF file".to_owned());
    }
    let elf = match object::File::parse(bytes) {
        Ok(elf) => elf,
        Err(error) => return refuse(format!("it is a damaged ELF file ({error})")),
    };
    if elf.architecture() != Architecture::Bpf || elf.kind() != ObjectKind::Relocatable {
        return refuse("it is an ELF file, but not an object for eBPF".to_owned());
    }
    let native = if cfg!(target_endian = "little") { Endianness::Little } else { Endianness::Big };
    if elf.endianness() != native {
        return refuse("it is an eBPF object of the other byte order".to_owned());
    }
    Ok(elf)
}

/// Lists every global function outside `.text`, which holds the functions that programs call.
fn find_programs(path: &Path, elf: &object::File<'_>) -> Result<Vec<Program>, Error> {
    let mut programs = Vec::new();
    for section in elf.sections().filter(is_code) {
        let section_name = section.name().unwrap_or_default();
        if section_name == ".text" {
            continue;
        }
        let mut functions: Vec<_> = elf
            .symbols()
            .filter(|symbol| {
                symbol.kind() == SymbolKind::Text && symbol.section_index() == Some(section.index())
            })
            .collect();
        functions.sort_by_key(object::ObjectSymbol::address);
        for function in functions {
            programs.push(Program {
                name: function.name().unwrap_or_default().to_owned(),
                section: section_name.to_owned(),
                hook: Hook::from_section(section_name),
            });
        }
    }
    if programs.is_empty() {
        return Err(Error::NoProgram { path: path.to_owned() });
    }
    Ok(programs)
}

/// All addresses in a section that instructions load.
///
/// A relocation names a symbol in the section and has no addend of its own: the instruction's immediate holds what is
/// added to the symbol's value. clang often addresses static variables relative to the start of the section.
pub(crate) fn loaded_addresses(elf: &object::File<'_>, target: SectionIndex) -> impl Iterator<Item = u64> {
    elf.sections().filter(is_code).flat_map(move |code| {
        let data = code.data().unwrap_or_default();
        code.relocations()
            .filter(|(_, relocation)| {
                matches!(relocation.flags(), RelocationFlags::Elf { r_type: elf::R_BPF_64_64 })
            })
            .filter_map(|(offset, relocation)| {
                let RelocationTarget::Symbol(index) = relocation.target() else { return None };
                let symbol = elf.symbol_by_index(index).ok()?;
                (symbol.section_index() == Some(target))
                    .then(|| immediate(data, offset).map(|addend| symbol.address().wrapping_add(addend)))?
            })
            .collect::<Vec<_>>()
    })
}

/// Whether a section holds instructions.
fn is_code(section: &object::Section<'_, '_>) -> bool {
    let SectionFlags::Elf { sh_flags, .. } = section.flags() else { return false };
    sh_flags & u64::from(elf::SHF_EXECINSTR) != 0
}

/// The immediate value of the instruction at `offset`, as an unsigned addend.
fn immediate(code: &[u8], offset: u64) -> Option<u64> {
    if !offset.is_multiple_of(INSTRUCTION) {
        return None;
    }
    let start = usize::try_from(offset.checked_add(IMMEDIATE)?).ok()?;
    let bytes = code.get(start..start.checked_add(4)?)?;
    Some(u64::from(u32::from_ne_bytes(bytes.try_into().ok()?)))
}

/// Reads the header of `.BTF.ext`: six offsets and lengths follow its first eight bytes, those of the CO-RE
/// relocations last. Objects from before CO-RE have a header that ends earlier.
fn has_core_relocations(btf_ext: &[u8]) -> bool {
    let word = |at: usize| btf_ext.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
    // The first four bytes of the relocations give the size of a record; a record follows only if there is one.
    matches!((word(4), word(28)), (Some(32..), Some(length)) if length > 4)
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
