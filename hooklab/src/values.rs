//! Values of options, with errors that read well after clap's own words.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use hooklab_types::demo::Filter;
use hooklab_types::loader::LoaderKind;
use hooklab_vm::kernel::{ParseSelectorError, Selector, Spec};

/// One kernel or several.
///
/// # Errors
/// It names none.
pub fn kernels(text: &str) -> Result<Selector, String> {
    text.parse().map_err(|error: ParseSelectorError| error.to_string())
}

/// One kernel.
pub fn spec(text: &str) -> Result<Spec, String> {
    match kernels(text)? {
        Selector::One(spec) => Ok(spec),
        several => Err(format!("`{several}` means several kernels: name one")),
    }
}

/// A loader; help texts list all of them.
#[must_use]
pub fn loader() -> impl TypedValueParser<Value = LoaderKind> {
    PossibleValuesParser::new(LoaderKind::ALL.map(LoaderKind::name))
        .try_map(|name| name.parse::<LoaderKind>())
}

/// A PID, or the word for one that is not known yet.
pub fn pid(text: &str) -> Result<Filter, String> {
    match text.parse::<i32>() {
        Ok(pid) if pid > 0 => Ok(Filter::Pid(pid)),
        _ if text == "writer" => Ok(Filter::Writer),
        _ if text == "command" => Ok(Filter::Command),
        _ => Err("it is neither a PID nor \"writer\" nor \"command\"".into()),
    }
}

/// Longest text that a kernel's command line is given: with what comes before it less than the 2048 bytes that kernels keep
/// (`COMMAND_LINE_SIZE`), and what is longer they cut off without a word.
const MAX_APPEND: usize = 1024;

/// Words for a kernel's command line.
///
/// # Errors
/// There are none, too many, or characters that a command line cannot have.
pub fn append(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty".into()),
        text if text.len() > MAX_APPEND => Err(format!("it is longer than {MAX_APPEND} bytes")),
        text if text.chars().any(char::is_control) => Err("it contains a control character".into()),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_of_some_words_is_appended_to_a_command_line() {
        assert_eq!(append(" lsm=lockdown,bpf quiet "), Ok("lsm=lockdown,bpf quiet".into()));
        for wrong in ["", " ", "a\nb", "a\0", &"x".repeat(MAX_APPEND + 1)] {
            assert!(append(wrong).is_err(), "{wrong:?}");
        }
    }
}
