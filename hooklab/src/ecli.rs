//! Upstream's own program `ecli`: found on this machine, and packed with all that it takes to run it in a guest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use hooklab_vm::binary;
use hooklab_vm::event::{Event, Observer};
use hooklab_vm::linked::Linked;
use hooklab_vm::payload;
use hooklab_vm::runner::EnvVar;

use crate::exit::UsageError;
use crate::options::EcliOptions;
use crate::setup::{find_program, is_program};

/// What the program is called on PATH: by upstream, and by `cargo install`.
const NAMES: [&str; 2] = ["ecli", "ecli-rs"];
/// Said in place of a path by those who want none.
const NONE: &str = "none";
/// Its directory in the payload, and the names in it that `hooklab-loader` knows (`loader/eunomia/src/child.rs`).
const DIRECTORY: &str = "ecli";
const PROGRAM: &str = "ecli";
const LINKER: &str = "ld.so";

/// The program, with what it is linked to when it starts.
#[derive(Debug)]
pub struct Ecli {
    program: PathBuf,
    /// None if it is static.
    linked: Option<Linked>,
}

impl Ecli {
    /// The program that the command line names or, where it does not, the one on PATH; none where there is none.
    ///
    /// # Errors
    /// [`UsageError`] if what is named cannot be used. Of what happens to be on PATH there is but a note.
    pub fn find(options: &EcliOptions, observer: &dyn Observer) -> Result<Option<Self>, UsageError> {
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
                        format!("no tests of the loader ecli: {} cannot be used: {error:#}", found.display());
                    observer.notify(Event::Note(note));
                }
                Ok(ecli.ok())
            }
        }
    }

    /// An error for those who ask for the loader where it is not.
    pub fn missing() -> UsageError {
        UsageError(
            "there is no ecli to load with: build it with `cargo install ecli-rs --version 0.2.9 --locked`, and have \
             it on PATH or name it with --ecli PATH"
                .into(),
        )
    }

    /// Adds it to a payload.
    pub fn pack(&self, archive: &mut payload::Builder) -> Result<()> {
        let mut files = vec![(PROGRAM, &self.program)];
        if let Some(Linked { linker, libraries }) = &self.linked {
            files.push((LINKER, linker));
            files.extend(libraries.iter().map(|(name, path)| (name.as_str(), path)));
        }
        for (name, path) in files {
            archive.add(&format!("{DIRECTORY}/{name}"), path).context("failed to pack ecli")?;
        }
        Ok(())
    }

    /// Where the loader finds it in a guest, if it was packed.
    pub fn environment() -> EnvVar {
        EnvVar::in_payload("HOOKLAB_ECLI", format!("{DIRECTORY}/{PROGRAM}"))
    }

    /// Finds out what a program is linked to, and whether it is an `ecli` at all.
    fn inspect(program: &Path) -> Result<Self> {
        fs::metadata(program)?;
        anyhow::ensure!(is_program(program), "it is not executable");
        anyhow::ensure!(binary::check(program).is_ok(), "it is no x86-64 program");
        let linked = Linked::of(program)?;
        let mut help = Command::new(std::path::absolute(program)?);
        help.args(["run", "--help"]).stdin(Stdio::null()).stderr(Stdio::null());
        let said = help.output().context("it does not run")?.stdout;
        let knows_programs = String::from_utf8_lossy(&said).to_lowercase().contains("ebpf program");
        anyhow::ensure!(knows_programs, "it is another program of that name: `run --help` is not ecli's");
        Ok(Self { program: program.to_owned(), linked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_ecli_is_not_taken_for_one() {
        let why = |path: &str| format!("{:#}", Ecli::inspect(Path::new(path)).unwrap_err());
        assert!(why("/no/such/ecli").contains("No such file"), "{}", why("/no/such/ecli"));
        assert_eq!(why("/etc/passwd"), "it is not executable");
        assert!(why("/bin/true").starts_with("it is another program of that name"), "{}", why("/bin/true"));
    }
}
