//! A command of this host that runs in a guest, and files that come along: all at the paths that they have here.

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use hooklab_vm::binary;
use hooklab_vm::payload;

use crate::exit::UsageError;
use crate::setup::{find_program, is_program};

/// Directory of the payload whose content comes to the same paths in a guest.
const ROOT: &str = "root";

/// Directory of the payload in which the command runs.
const WORK: &str = "work";

/// Longest first line of a script (Linux, `BINPRM_BUF_SIZE`).
const FIRST_LINE: u64 = 256;

/// Files of a directory that are brought along, at most.
const FILES: usize = 10_000;

/// A command, found on this host.
pub(super) struct Command {
    /// The program or script.
    path: PathBuf,
    arguments: Vec<String>,
    /// What else it takes: the interpreter of a script, and the program that this one finds on PATH.
    interpreters: Vec<PathBuf>,
    is_script: bool,
}

impl Command {
    /// Finds a command as a shell would; none where no words are given.
    pub(super) fn find(words: &[String]) -> Result<Option<Self>> {
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

    /// The command line in a guest.
    pub(super) fn words(&self) -> Vec<String> {
        let program = self.path.to_string_lossy().into_owned();
        [program].into_iter().chain(self.arguments.iter().cloned()).collect()
    }

    pub(super) fn pack(&self, archive: &mut payload::Builder) -> Result<()> {
        for program in self.interpreters.iter().chain((!self.is_script).then_some(&self.path)) {
            let added = archive.add_program(&in_root(program), program);
            added.with_context(|| format!("failed to pack {}", program.display()))?;
        }
        if self.is_script {
            archive.add(&in_root(&self.path), &self.path).context("failed to pack the command")?;
        }
        Ok(())
    }
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
    std::path::absolute(&path).map_err(|error| UsageError(format!("failed to find {name}: {error}")))
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

/// A file or directory that comes along.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extra {
    from: PathBuf,
    /// Its name in the payload.
    to: String,
}

impl Extra {
    /// Reads `PATH[:DEST]`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (from, to) = match text.rsplit_once(':') {
            Some((from, to)) if !from.is_empty() && !to.is_empty() && !Path::new(text).exists() => {
                (Path::new(from), Path::new(to))
            }
            _ => (Path::new(text), Path::new(text)),
        };
        if !from.exists() {
            return Err(UsageError(format!("there is no file {}", from.display())).into());
        }
        let plain = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        let to = match to.strip_prefix("/") {
            Ok(rest) if rest.components().all(|part| plain(&part)) => format!("{ROOT}/{}", rest.display()),
            Err(_) if to.components().all(|part| plain(&part)) => format!("{WORK}/{}", to.display()),
            _ => {
                let message = format!("failed to place {text} in a guest: name its place there as PATH:DEST");
                return Err(UsageError(message).into());
            }
        };
        Ok(Self { from: from.to_owned(), to })
    }

    pub(super) fn pack(&self, archive: &mut payload::Builder) -> Result<()> {
        let mut left = FILES;
        add(archive, &self.from, &self.to, &mut left)
            .with_context(|| format!("failed to pack {}", self.from.display()))
    }
}

fn add(archive: &mut payload::Builder, from: &Path, to: &str, left: &mut usize) -> Result<()> {
    if from.is_dir() {
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            add(archive, &from.join(&name), &format!("{to}/{}", name.display()), left)?;
        }
        return Ok(());
    }
    *left = left.checked_sub(1).with_context(|| format!("there are more than {FILES} files in it"))?;
    // A program brings its libraries.
    if is_program(from) && binary::check(from).is_ok() {
        return Ok(archive.add_program(to, from)?);
    }
    Ok(archive.add(to, from)?)
}

/// The name in the payload of a file that comes to the same path in a guest.
fn in_root(path: &Path) -> String {
    format!("{ROOT}/{}", path.strip_prefix("/").unwrap_or(path).display())
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

    #[test]
    fn files_have_a_place() {
        let to = |text: &str| Extra::parse(text).map(|extra| extra.to);
        assert_eq!(to("/etc/passwd").unwrap(), "root/etc/passwd");
        assert_eq!(to("/etc/passwd:data/x").unwrap(), "work/data/x");
        assert_eq!(to("/etc/passwd:/data").unwrap(), "root/data");
        assert!(to("/no/such/file").is_err());
        assert!(to("/etc/passwd:../x").is_err());
        assert!(to("/etc/passwd:/../x").is_err());
    }
}
