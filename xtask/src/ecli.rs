//! Upstream's own program `ecli`: found on this machine, and packed with all that it takes to run it in a guest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use hooklab_vm::binary;
use hooklab_vm::event::{Event, Observer};
use hooklab_vm::payload;
use object::Endianness;
use object::read::elf::{ElfFile64, ProgramHeader};

use crate::cli::EcliOptions;
use crate::exit::UsageError;
use crate::setup::{find_program, is_program};

/// What the loader is called, by whose tests and on command lines.
pub(crate) const LOADER: &str = "ecli";
/// What the program is called on PATH: by upstream, and by `cargo install`.
const NAMES: [&str; 2] = ["ecli", "ecli-rs"];
/// Said in place of a path by those who want none.
const NONE: &str = "none";
/// Its folder in the payload, and the names in it that `hooklab-loader` knows (`loader/eunomia/src/child.rs`).
const FOLDER: &str = "ecli";
const PROGRAM: &str = "ecli";
const LINKER: &str = "ld.so";

/// The program, with what it is linked to when it starts.
#[derive(Debug)]
pub(crate) struct Ecli {
    program: PathBuf,
    /// None if it is static.
    linked: Option<Linked>,
}

#[derive(Debug)]
struct Linked {
    /// The dynamic linker that it asks for.
    linker: PathBuf,
    /// The libraries, each with the name that it is asked for by.
    libraries: Vec<(String, PathBuf)>,
}

impl Ecli {
    /// The program that the command line names or, where it does not, the one on PATH; none where there is none.
    ///
    /// # Errors
    /// [`UsageError`] if what is named cannot be used. Of what happens to be on PATH there is but a note.
    pub(crate) fn find(options: &EcliOptions, observer: &dyn Observer) -> Result<Option<Self>, UsageError> {
        match options.ecli.as_deref().filter(|named| !named.is_empty()) {
            Some(named) if named == NONE => Ok(None),
            Some(named) => Self::inspect(Path::new(named)).map(Some).map_err(|error| {
                UsageError(format!("failed to use {} as ecli: {error:#}", Path::new(named).display()))
            }),
            None => {
                let Some(found) = NAMES.iter().find_map(|name| find_program(name)) else { return Ok(None) };
                let ecli = Self::inspect(&found);
                if let Err(error) = &ecli {
                    let note =
                        format!("no tests of the loader ecli: {} is of no use: {error:#}", found.display());
                    observer.notify(Event::Note(note));
                }
                Ok(ecli.ok())
            }
        }
    }

    /// An error for those who ask for the loader where it is not.
    pub(crate) fn missing() -> UsageError {
        UsageError(
            "there is no ecli to load with: build it with `cargo install ecli-rs --version 0.2.9 --locked`, and have \
             it on PATH or name it with --ecli PATH"
                .into(),
        )
    }

    /// Adds it to a payload.
    pub(crate) fn pack(&self, archive: &mut payload::Builder) -> Result<()> {
        let mut files = vec![(PROGRAM, &self.program)];
        if let Some(Linked { linker, libraries }) = &self.linked {
            files.push((LINKER, linker));
            files.extend(libraries.iter().map(|(name, path)| (name.as_str(), path)));
        }
        for (name, path) in files {
            archive.add(&format!("{FOLDER}/{name}"), path).context("failed to pack ecli")?;
        }
        Ok(())
    }

    /// Where the loader finds it in a guest, if it was packed.
    pub(crate) fn environment() -> (String, String) {
        ("HOOKLAB_ECLI".into(), format!("{{payload}}/{FOLDER}/{PROGRAM}"))
    }

    /// Finds out what a program is linked to, and whether it is an `ecli` at all.
    fn inspect(program: &Path) -> Result<Self> {
        fs::metadata(program)?;
        anyhow::ensure!(is_program(program), "it is not executable");
        let linked = match binary::check(program) {
            Ok(()) => None,
            Err(binary::Error::Dynamic(_)) => Some(Linked::of(program)?),
            Err(_) => anyhow::bail!("it is no x86-64 program"),
        };
        let mut help = Command::new(std::path::absolute(program)?);
        help.args(["run", "--help"]).stdin(Stdio::null()).stderr(Stdio::null());
        let said = help.output().context("it does not run")?.stdout;
        let knows_programs = String::from_utf8_lossy(&said).to_lowercase().contains("ebpf program");
        anyhow::ensure!(knows_programs, "it is another program of that name: `run --help` is not ecli's");
        Ok(Self { program: program.to_owned(), linked })
    }
}

impl Linked {
    /// Asks the program's own dynamic linker, which knows best where it finds things (ld.so(8), `--list`).
    fn of(program: &Path) -> Result<Self> {
        let linker = linker(program)?.context("it does not say which dynamic linker it needs")?;
        let mut list = Command::new(&linker);
        list.arg("--list").arg(std::path::absolute(program)?);
        let listed = list.output().with_context(|| format!("its {} does not run", linker.display()))?;
        let libraries = libraries(&String::from_utf8_lossy(&listed.stdout))?;
        anyhow::ensure!(
            listed.status.success(),
            "its libraries are not known: {}",
            String::from_utf8_lossy(&listed.stderr).trim()
        );
        Ok(Self { linker, libraries })
    }
}

/// The dynamic linker that a program names (elf(5), `PT_INTERP`).
fn linker(program: &Path) -> Result<Option<PathBuf>> {
    let bytes = fs::read(program)?;
    let file = ElfFile64::<Endianness>::parse(bytes.as_slice())?;
    for header in file.elf_program_headers() {
        if let Some(path) = header.interpreter(file.endian(), bytes.as_slice())? {
            return Ok(Some(PathBuf::from(str::from_utf8(path)?)));
        }
    }
    Ok(None)
}

/// Reads what a dynamic linker lists: `libz.so.1 => /lib/libz.so.1 (0x00007f0000000000)`, and other lines for itself
/// and for what the kernel brings.
fn libraries(listed: &str) -> Result<Vec<(String, PathBuf)>> {
    let mut libraries = Vec::new();
    for (name, place) in listed.lines().filter_map(|line| line.trim().split_once(" => ")) {
        anyhow::ensure!(place != "not found", "it needs {name}, which is not on this machine");
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
        let error = libraries("\tlibelf.so.1 => not found\n").unwrap_err().to_string();
        assert_eq!(error, "it needs libelf.so.1, which is not on this machine");
    }

    #[test]
    fn a_program_of_this_machine_is_linked_to_its_c_library() {
        // The test itself is one.
        let linked = Linked::of(&std::env::current_exe().unwrap()).unwrap();
        assert!(linked.linker.is_file());
        assert!(
            linked.libraries.iter().any(|(name, path)| name == "libc.so.6" && path.is_file()),
            "{linked:?}"
        );
    }

    #[test]
    fn what_is_no_ecli_is_not_taken_for_one() {
        let why = |path: &str| format!("{:#}", Ecli::inspect(Path::new(path)).unwrap_err());
        assert!(why("/no/such/ecli").contains("No such file"), "{}", why("/no/such/ecli"));
        assert_eq!(why("/etc/passwd"), "it is not executable");
        assert!(why("/bin/true").starts_with("it is another program of that name"), "{}", why("/bin/true"));
    }
}
