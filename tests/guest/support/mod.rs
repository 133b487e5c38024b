//! What the tests use: actors, loaders, the trace, the kernel's list of eBPF objects.

mod actor;
mod kernel;
mod labels;
mod line;
mod loads;
mod payload;
mod run;
mod trace;

pub(crate) use actor::Actor;
pub(crate) use kernel::KernelObjects;
pub(crate) use labels::PidLabels;
pub(crate) use run::{Attached, Run, refusal_of};
pub(crate) use trace::{TRACEFS, Trace};

/// Compares with a snapshot that serves every loader and every kernel, so its name has neither in it.
macro_rules! assert_snapshot {
    ($name:literal, $text:expr) => {{
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let text = $text;
        settings.bind(|| insta::assert_snapshot!($name, text));
    }};
}
pub(crate) use assert_snapshot;
