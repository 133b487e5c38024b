//! What a dynamic program of the host needs in a guest: its dynamic linker and its libraries.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::Endianness;
use object::read::elf::{ElfFile64, ProgramHeader};

/// Why a program's libraries are unknown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program cannot be read.
    #[error("failed to read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It is not a valid ELF program.
    #[error("{} is not a valid ELF program", .0.display())]
    Malformed(PathBuf, #[source] object::Error),
    /// The dynamic linker it names cannot be run.
    #[error("failed to run {}, the dynamic linker of {}", .linker.display(), .program.display())]
    Linker {
        /// The dynamic linker.
        linker: PathBuf,
        /// The program that names it.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The dynamic linker refuses the program.
    #[error("{} does not start here: {said}", .program.display())]
    Refused {
        /// The program.
        program: PathBuf,
        /// What the dynamic linker said.
        said: String,
    },
    /// A library is not on this host.
    #[error("{} needs {library}, which is not on this host", .program.display())]
    Missing {
        /// The program.
        program: PathBuf,
        /// The library's name.
        library: String,
    },
}

/// What the dynamic linker loads for a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// The dynamic linker that it names (elf(5), `PT_INTERP`).
    pub linker: PathBuf,
    /// The libraries, each with the name that it is asked for by.
    pub libraries: Vec<(String, PathBuf)>,
}

impl Linked {
    /// Asks the program's own dynamic linker, which knows its search paths (ld.so(8), `--list`). `None` for a static
    /// program.
    ///
    /// # Errors
    /// If the program is not valid, or the host lacks a library.
    pub fn of(program: &Path) -> Result<Option<Self>, Error> {
        let Some(linker) = linker(program)? else { return Ok(None) };
        let absolute =
            std::path::absolute(program).map_err(|error| Error::Read(program.to_owned(), error))?;
        let failed = |source| Error::Linker { linker: linker.clone(), program: program.to_owned(), source };
        let listed = Command::new(&linker).arg("--list").arg(absolute).output().map_err(failed)?;
        let libraries = libraries(&String::from_utf8_lossy(&listed.stdout))
            .map_err(|library| Error::Missing { program: program.to_owned(), library })?;
        if !listed.status.success() {
            let said = String::from_utf8_lossy(&listed.stderr).trim().to_owned();
            return Err(Error::Refused { program: program.to_owned(), said });
        }
        Ok(Some(Self { linker, libraries }))
    }

    /// All files, each at the path by which the program asks for it.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.linker.as_path()).chain(self.libraries.iter().map(|(_, path)| path.as_path()))
    }
}

/// The dynamic linker that a program names; `None` for a static one.
fn linker(program: &Path) -> Result<Option<PathBuf>, Error> {
    let malformed = |error| Error::Malformed(program.to_owned(), error);
    let bytes = fs::read(program).map_err(|error| Error::Read(program.to_owned(), error))?;
    let file = ElfFile64::<Endianness>::parse(bytes.as_slice()).map_err(malformed)?;
    for header in file.elf_program_headers() {
        if let Some(path) = header.interpreter(file.endian(), bytes.as_slice()).map_err(malformed)? {
            return Ok(Some(PathBuf::from(String::from_utf8_lossy(path).into_owned())));
        }
    }
    Ok(None)
}

/// Parses a dynamic linker's list: `libz.so.1 => /lib/libz.so.1 (0x00007f0000000000)`, and other lines for itself and for
/// the vDSO. An error is the name of a library that is not found.
fn libraries(listed: &str) -> Result<Vec<(String, PathBuf)>, String> {
    let mut libraries = Vec::new();
    for (name, place) in listed.lines().filter_map(|line| line.trim().split_once(" => ")) {
        if place == "not found" {
            return Err(name.to_owned());
        }
        let path = place.rsplit_once(" (").map_or(place, |(path, _)| path);
        libraries.push((name.to_owned(), PathBuf::from(path)));
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_taken_from_a_linkers_list() {
        let listed = "\tlinux-vdso.so.1 (0x00007ffd5b5f2000)\n\
                      \tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f5ce0a00000)\n\
                      \tlibc.so.6 => /lib (old)/libc.so.6 (0x00007f5ce0800000)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f5ce0c4e000)\n";
        let expected =
            [("libz.so.1", "/lib/x86_64-linux-gnu/libz.so.1"), ("libc.so.6", "/lib (old)/libc.so.6")];
        assert_eq!(libraries(listed).unwrap(), expected.map(|(name, path)| (name.into(), path.into())));
        assert_eq!(libraries("\tlibelf.so.1 => not found\n").unwrap_err(), "libelf.so.1");
    }

    #[test]
    fn a_program_of_this_machine_is_linked_to_its_c_library() {
        // The test itself is one.
        let linked = Linked::of(&std::env::current_exe().unwrap()).unwrap().unwrap();
        assert!(linked.linker.is_file());
        assert!(
            linked.libraries.iter().any(|(name, path)| name == "libc.so.6" && path.is_file()),
            "{linked:?}"
        );
        assert!(matches!(Linked::of(Path::new("/etc/passwd")), Err(Error::Malformed(..))));
    }
}
