//! Values of options, with errors that read well after clap's own words.

use hooklab_vm::kernel::{ParseSelectorError, Selector, Spec};

/// One kernel or several.
pub(super) fn kernels(text: &str) -> Result<Selector, String> {
    text.parse().map_err(|error: ParseSelectorError| error.to_string())
}

/// One kernel.
pub(super) fn spec(text: &str) -> Result<Spec, String> {
    match kernels(text)? {
        Selector::One(spec) => Ok(spec),
        several => Err(format!("`{several}` means several kernels: name one")),
    }
}

/// A PID, or the word for one that is not known yet.
pub(super) fn pid(text: &str) -> Result<String, String> {
    let is_pid = text.parse::<i32>().is_ok_and(|pid| pid > 0);
    if is_pid || text == "writer" {
        Ok(text.to_owned())
    } else {
        Err("it is neither a PID nor \"writer\"".into())
    }
}
