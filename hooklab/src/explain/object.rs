//! eBPF objects, as far as the host looks into them: their programs, so that none can get lost on the way.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use object::{
    Architecture, Endianness, FileKind, Object as _, ObjectKind, ObjectSection as _, ObjectSymbol as _,
    SectionFlags, SymbolKind, elf,
};

use crate::exit::UsageError;

/// The largest object, in bytes. Real ones have some kilobytes.
const LARGEST: u64 = 64 << 20;

/// The most programs of an object.
pub const MOST_PROGRAMS: usize = 2000;

/// An object, and what it is called in tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where it is.
    pub path: PathBuf,
    /// The file's name; with the directories where several files have the same name.
    pub name: String,
    /// Its programs, in the order of their sections; at least one.
    pub programs: Vec<Program>,
}

/// A program of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The function.
    pub name: String,
    /// The ELF section.
    pub section: String,
}

/// Reads objects; `named` has for each the file that the user named: the object itself, or its source.
///
/// # Errors
/// One cannot be read, is no eBPF object, or is named twice.
pub fn read_all(named: &[PathBuf], objects: &[&Path]) -> Result<Vec<Object>, UsageError> {
    for (place, path) in named.iter().enumerate() {
        if named[..place].contains(path) {
            return Err(UsageError(format!("{} is named twice", path.display())));
        }
    }
    let mut objects = objects.iter().map(|path| Object::read(path)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> = objects.iter().map(|object| object.name.clone()).collect();
    for (object, path) in objects.iter_mut().zip(named) {
        if names.iter().filter(|name| **name == object.name).count() > 1 {
            object.name = path.display().to_string();
        }
    }
    Ok(objects)
}

impl Object {
    /// Reads a file and finds the programs.
    fn read(path: &Path) -> Result<Self, UsageError> {
        let refuse = |why: String| UsageError(format!("cannot explain {}: {why}", path.display()));
        let failed = |error: std::io::Error| refuse(error.to_string());
        // A pipe may never end.
        let metadata = fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(refuse("it is not a regular file".into()));
        }
        if metadata.len() > LARGEST {
            return Err(refuse(format!("it is larger than {} MiB", LARGEST >> 20)));
        }
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(refuse("its name is not UTF-8".into()));
        };
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes)).map_err(failed)?;
        let programs = programs(&bytes).map_err(refuse)?;
        Ok(Self { path: path.to_owned(), name: name.to_owned(), programs })
    }
}

/// Finds the programs: as for libbpf, every function in a section with instructions other than `.text`.
///
/// # Errors
/// Why no kernel could load it, as the end of a sentence.
pub fn programs(bytes: &[u8]) -> Result<Vec<Program>, String> {
    let elf = parse(bytes)?;
    let mut programs = Vec::new();
    for section in elf.sections().filter(has_instructions) {
        let name = section.name().map_err(|error| format!("it is a damaged ELF file ({error})"))?;
        if name == ".text" {
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
            let function = function.name().map_err(|error| format!("it is a damaged ELF file ({error})"))?;
            programs.push(Program { name: function.to_owned(), section: name.to_owned() });
        }
    }
    match programs.len() {
        0 => Err("there is no program in it: a program is a function with SEC(\"...\")".into()),
        count if count > MOST_PROGRAMS => {
            Err(format!("it has {count} programs, and {MOST_PROGRAMS} is the limit"))
        }
        _ => Ok(programs),
    }
}

/// Reads the header and refuses what is not for eBPF on this machine.
fn parse(bytes: &[u8]) -> Result<object::File<'_>, String> {
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
        return Err("it is a package; give the object that it was made of".into());
    }
    if !matches!(FileKind::parse(bytes), Ok(FileKind::Elf32 | FileKind::Elf64)) {
        return Err("it is not an ELF file; give an object compiled by `clang -target bpf`".into());
    }
    let elf = object::File::parse(bytes).map_err(|error| format!("it is a damaged ELF file ({error})"))?;
    if elf.architecture() != Architecture::Bpf || elf.kind() != ObjectKind::Relocatable {
        return Err(
            "it is an ELF file, but not an eBPF object; give one compiled by `clang -target bpf`".into()
        );
    }
    let native = if cfg!(target_endian = "little") { Endianness::Little } else { Endianness::Big };
    if elf.endianness() != native {
        return Err("it is an eBPF object of the other byte order".into());
    }
    Ok(elf)
}

fn has_instructions(section: &object::Section<'_, '_>) -> bool {
    let SectionFlags::Elf { sh_flags, .. } = section.flags() else { return false };
    sh_flags & u64::from(elf::SHF_EXECINSTR) != 0
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
