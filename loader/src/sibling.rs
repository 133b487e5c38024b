//! The binary beside this one, which has the loader `eunomia` and the old dependencies that come with it.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::Error;

/// The loader that it has.
pub const LOADER: &str = "eunomia";
/// Its file name.
const BINARY: &str = "hooklab-loader-eunomia";

/// Whether these arguments ask for its loader. They are not parsed: only the other binary knows the flags that a
/// package brings along.
pub fn is_asked_for(arguments: impl IntoIterator<Item = OsString>) -> bool {
    let words: Vec<String> = arguments
        .into_iter()
        .map(|word| word.to_string_lossy().into_owned())
        .take_while(|word| word != "--")
        .collect();
    let together = ["--loader=", "-l=", "-l"].map(|option| format!("{option}{LOADER}"));
    words.iter().any(|word| together.contains(word))
        || words.windows(2).any(|pair| matches!(&pair[0][..], "--loader" | "-l") && pair[1] == LOADER)
}

/// Becomes that binary, with the same arguments; returns only if that fails.
///
/// # Errors
///
/// [`Error::NoSibling`].
pub fn become_it() -> Result<(), Error> {
    let path = env::current_exe().unwrap_or_default().with_file_name(BINARY);
    let source = Command::new(&path).arg0("hooklab-loader").args(env::args_os().skip(1)).exec();
    Err(Error::NoSibling { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_option_asks_for_it() {
        let asked = |line: &str| is_asked_for(line.split(' ').map(OsString::from));
        for line in
            ["run -l eunomia x", "run x --loader eunomia", "run --loader=eunomia x", "run -leunomia x"]
        {
            assert!(asked(line), "{line}");
        }
        for line in ["run -l aya eunomia", "run eunomia", "run -l aya x -- -l eunomia", "run --loader"] {
            assert!(!asked(line), "{line}");
        }
    }
}
