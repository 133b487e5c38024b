//! A test binary on the host: whether a guest can run it, and which tests it has.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use object::Endianness;
use object::read::elf::ElfFile64;

use crate::arch;

/// How long a binary may take to list its tests.
const LIST_PATIENCE: Duration = Duration::from_secs(10);

/// A test of a binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// Whether it is marked as ignored in its source.
    pub ignored: bool,
}

/// Why a binary cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("failed to read {0}")]
    Read(String, #[source] io::Error),
    /// It is not a program for guests.
    #[error("failed to use {0} in a guest: it is not a program for {title}", title = arch::GUEST.title)]
    NoProgram(String),
    /// It does not list its tests.
    #[error("failed to list the tests of {0}")]
    List(String, #[source] ListError),
}

/// Why a binary does not list its tests.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be run.
    #[error(transparent)]
    Run(#[from] io::Error),
    /// It takes too long.
    #[error("it did not answer within {0:?}")]
    Late(Duration),
    /// It is not a libtest binary.
    #[error("it does not answer as libtest does ({0})")]
    NoAnswer(ExitStatus),
}

/// Checks that a guest can run `binary`: that it is a program for its architecture.
///
/// # Errors
/// If it is not.
pub fn check(binary: &Path) -> Result<(), Error> {
    let name = || binary.display().to_string();
    let bytes = fs::read(binary).map_err(|error| Error::Read(name(), error))?;
    let file = ElfFile64::<Endianness>::parse(bytes.as_slice()).map_err(|_| Error::NoProgram(name()))?;
    let endian = file.endian();
    if file.elf_header().e_machine.get(endian) != arch::GUEST.elf_machine
        || file.elf_program_headers().is_empty()
    {
        return Err(Error::NoProgram(name()));
    }
    Ok(())
}

/// Lists the tests of a libtest binary, in its order, by running it on the host.
///
/// # Errors
/// If the binary cannot be run, takes too long, or does not answer as libtest does.
pub fn list(binary: &Path) -> Result<Vec<Test>, Error> {
    let ignored: HashSet<String> = list_with(binary, &["--ignored"])?.into_iter().collect();
    let all = list_with(binary, &[])?;
    Ok(all.into_iter().map(|name| Test { ignored: ignored.contains(&name), name }).collect())
}

fn list_with(binary: &Path, more: &[&str]) -> Result<Vec<String>, Error> {
    let failed = |why| Error::List(binary.display().to_string(), why);
    let mut command = Command::new(binary);
    command.args(["--list", "--format=terse"]).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| failed(error.into()))?;
    let stdout = child.stdout.take();
    let (sender, answer) = channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = stdout.map(|mut pipe| pipe.read_to_end(&mut text));
        let _ = sender.send(read.and_then(Result::ok).map(|_| text));
    });
    let deadline = Instant::now() + LIST_PATIENCE;
    let text = answer.recv_timeout(LIST_PATIENCE);
    let ended = loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
            ended => break ended.ok().flatten(),
        }
    };
    let (Ok(Some(text)), Some(status)) = (text, ended) else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(failed(ListError::Late(LIST_PATIENCE)));
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let tests: Option<Vec<String>> =
        text.lines().map(|line| line.strip_suffix(": test").map(str::to_owned)).collect();
    match tests {
        Some(tests) if status.success() => Ok(tests),
        _ => Err(failed(ListError::NoAnswer(status))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_binary_lists_itself_and_knows_what_is_ignored() {
        let tests = list(&std::env::current_exe().unwrap()).unwrap();
        let name = "binary::tests::a_test_binary_lists_itself_and_knows_what_is_ignored";
        assert!(tests.contains(&Test { name: name.into(), ignored: false }), "{tests:?}");
    }

    #[test]
    fn programs_that_no_guest_can_run_are_told_apart() {
        assert!(check(&std::env::current_exe().unwrap()).is_ok());
        assert!(matches!(check(Path::new("/etc/passwd")), Err(Error::NoProgram(_))));
        assert!(matches!(check(Path::new("/no/such/file")), Err(Error::Read(..))));
    }

    #[test]
    fn a_program_that_is_no_test_binary_is_refused() {
        let error = list(Path::new("/bin/ls")).unwrap_err();
        assert!(matches!(error, Error::List(_, ListError::NoAnswer(_))), "{error:?}");
    }
}
