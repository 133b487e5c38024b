//! The binary beside this one with the loaders `eunomia` and `ecli` and their old dependencies.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use hooklab_types::loader::LoaderKind;

use crate::Error;

/// Its file name.
const BINARY: &str = "hooklab-loader-eunomia";

/// Its loaders: those that take packages, each of which defines flags of its own.
pub fn loaders() -> impl Iterator<Item = LoaderKind> {
    LoaderKind::ALL.into_iter().filter(|kind| kind.takes_packages())
}

/// Whether these arguments name one of its loaders. They are not parsed: only the other binary knows the flags that a
/// package defines.
pub fn is_requested(arguments: impl IntoIterator<Item = OsString>) -> bool {
    let words: Vec<String> = arguments
        .into_iter()
        .map(|word| word.to_string_lossy().into_owned())
        .take_while(|word| word != "--")
        .collect();
    let is_its = |name: &str| loaders().any(|kind| kind.name() == name);
    let together = |word: &String| {
        let name = ["--loader=", "-l=", "-l"].iter().find_map(|option| word.strip_prefix(option));
        name.is_some_and(is_its)
    };
    words.iter().any(together)
        || words.windows(2).any(|pair| matches!(&pair[0][..], "--loader" | "-l") && is_its(&pair[1]))
}

/// Replaces this process with that binary and the same arguments; returns only on failure.
///
/// # Errors
///
/// [`Error::NoSibling`].
pub fn exec() -> Result<(), Error> {
    let path = env::current_exe().unwrap_or_default().with_file_name(BINARY);
    let source = Command::new(&path).arg0("hooklab-loader").args(env::args_os().skip(1)).exec();
    Err(Error::NoSibling { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_option_is_recognized() {
        let requested = |line: &str| is_requested(line.split(' ').map(OsString::from));
        for line in [
            "run -l eunomia x",
            "run x --loader eunomia",
            "run --loader=eunomia x",
            "run -leunomia x",
            "run -l=ecli x",
            "run x -l ecli",
        ] {
            assert!(requested(line), "{line}");
        }
        for line in ["run -l aya eunomia", "run eunomia", "run -l aya x -- -l ecli", "run --loader"] {
            assert!(!requested(line), "{line}");
        }
    }
}
