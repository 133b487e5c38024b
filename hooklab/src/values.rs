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
