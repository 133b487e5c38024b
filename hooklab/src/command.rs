//! A command of this host that runs in a guest, at the path that it has here.

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hooklab_vm::binary;
use hooklab_vm::payload;

use crate::exit::UsageError;
use crate::extra::{in_root, normal};
use crate::setup::{find_program, is_program};

/// Longest first line of a script (Linux, `BINPRM_BUF_SIZE`).
const FIRST_LINE: u64 = 256;

/// A command, found on this host.
pub(crate) struct Command {
    /// The program or script.
    path: PathBuf,
    arguments: Vec<String>,
    /// What else it takes: the interpreter of a script, and the program that this one finds on PATH.
    interpreters: Vec<PathBuf>,
    is_script: bool,
}

impl Command {
    /// Finds a command as a shell would; none where no words are given.
    ///
    /// # Errors
    /// [`UsageError`] if it is missing, or no guest could run it.
    pub(crate) fn find(words: &[String]) -> Result<Option<Self>> {
        let Some((name, arguments)) = words.split_first() else { return Ok(None) };
        let path = locate(name)?;
        let interpreters = interpreters(&path)?;
        let is_script = !interpreters.is_empty();
        for program in interpreters.iter().chain((!is_script).then_some(&path)) {
            binary::check(program)
                .map_err(|error| UsageError(format!("{:#}", anyhow::Error::from(error))))?;
        }
        Ok(Some(Self { path, arguments: arguments.to_vec(), interpreters, is_script }))
    }

    /// The absolute path of the program or script, here and in a guest.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The command line in a guest.
    pub(crate) fn words(&self) -> Vec<String> {
        let program = self.path.to_string_lossy().into_owned();
        [program].into_iter().chain(self.arguments.iter().cloned()).collect()
    }

    /// Adds it to a payload, with all that it takes to start it.
    pub(crate) fn pack(&self, archive: &mut payload::Builder) -> Result<()> {
        for program in self.interpreters.iter().chain((!self.is_script).then_some(&self.path)) {
            let added = archive.add_program(&place(program), program);
            added.with_context(|| format!("failed to pack {}", program.display()))?;
        }
        if self.is_script {
            archive.add(&place(&self.path), &self.path).context("failed to pack the command")?;
        }
        Ok(())
    }
}

/// Its name in the payload.
fn place(path: &Path) -> String {
    in_root(path).display().to_string()
}

/// A path is taken as it is, a name is looked for on PATH.
fn locate(name: &str) -> Result<PathBuf, UsageError> {
    let found = if name.contains('/') { Some(PathBuf::from(name)) } else { find_program(name) };
    let path = found.ok_or_else(|| UsageError(format!("failed to find the command {name} on PATH")))?;
    if !path.exists() {
        return Err(UsageError(format!("failed to find the command {name}: there is no such file")));
    }
    if !is_program(&path) {
        return Err(UsageError(format!("failed to use {name} as a command: it is not executable")));
    }
    let absolute = std::path::absolute(&path);
    let absolute = absolute.map_err(|error| UsageError(format!("failed to find {name}: {error}")))?;
    Ok(normal(&absolute).unwrap_or(absolute))
}

/// What runs a script, by its first line (execve(2)); empty for a program. For `env`, the program that it finds as well.
fn interpreters(path: &Path) -> Result<Vec<PathBuf>> {
    let mut head = Vec::new();
    let file = fs::File::open(path).with_context(|| format!("failed to read {}", path.display()))?;
    file.take(FIRST_LINE)
        .read_to_end(&mut head)
        .with_context(|| format!("failed to read {}", path.display()))?;
    let Some(line) = head.strip_prefix(b"#!") else { return Ok(Vec::new()) };
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.lines().next().unwrap_or_default().split_whitespace();
    let named = |why: &str| UsageError(format!("failed to use {} as a command: {why}", path.display()));
    let interpreter = words.next().ok_or_else(|| named("its first line names no interpreter"))?;
    let mut found = vec![PathBuf::from(interpreter)];
    if Path::new(interpreter).file_name() == Some(OsStr::new("env")) {
        let program = words.find(|word| !word.starts_with('-') && !word.contains('='));
        let program = program.ok_or_else(|| named("its first line names no interpreter"))?;
        let missing = || named(&format!("its interpreter {program} is not on PATH"));
        found.push(find_program(program).ok_or_else(missing)?);
    }
    if let Some(missing) = found.iter().find(|program| !program.exists()) {
        Err(named(&format!("its interpreter {} does not exist", missing.display())))?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn script(first_line: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("script");
        fs::write(&path, format!("{first_line}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        directory
    }

    fn find(path: &str) -> Result<Option<Command>> {
        Command::find(&[path.to_owned(), "x".to_owned()])
    }

    #[test]
    fn programs_and_scripts_are_found() {
        assert!(Command::find(&[]).unwrap().is_none());
        let sh = find("sh").unwrap().unwrap();
        assert!(sh.path.is_absolute() && !sh.is_script);
        assert_eq!(sh.words()[1], "x");
        let directory = script("#!/usr/bin/env -S sh -e");
        let command = find(directory.path().join("script").to_str().unwrap()).unwrap().unwrap();
        assert_eq!(command.interpreters, [PathBuf::from("/usr/bin/env"), sh.path]);
    }

    #[test]
    fn what_no_guest_could_run_is_refused() {
        let why = |path: &str| format!("{:#}", find(path).err().unwrap());
        assert!(why("no-such-command").contains("on PATH"));
        assert!(why("/no/such/command").contains("there is no such file"));
        assert!(why("/etc/passwd").contains("not executable"));
        for (line, reason) in [
            ("#!/no/such/interpreter", "does not exist"),
            ("#!/usr/bin/env no-such-program", "is not on PATH"),
            ("#!", "names no interpreter"),
            ("echo", "it is not a program for x86-64"),
        ] {
            let directory = script(line);
            let message = why(directory.path().join("script").to_str().unwrap());
            assert!(message.contains(reason), "{line}: {message}");
        }
    }
}
