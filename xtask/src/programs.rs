//! Which eBPF programs the lab works with.

use anyhow::Result;
use clap::{Args, ValueEnum};
use hooklab::lab::Lab;
use hooklab::options::SetupOptions;
use hooklab_vm::event::Observer;

use crate::build::Programs;
use crate::rust;

/// What an eBPF program is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    // Without descriptions: with them, the help of every option would go over several lines.
    C,
    Rust,
}

/// Which eBPF programs the lab works with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Programs")]
pub(crate) struct ProgramOptions {
    /// Only eBPF programs in this language: nothing is set up, built or run for others; may be repeated
    #[arg(long = "program", value_name = "LANGUAGE")]
    pub(crate) programs: Vec<Language>,
}

impl ProgramOptions {
    /// Whether programs in that language are wanted.
    pub(crate) fn wants(&self, language: Language) -> bool {
        self.programs.is_empty() || self.programs.contains(&language)
    }

    /// The programs that are wanted, once what they take is there.
    pub(crate) fn ready(&self, lab: &Lab, setup: &SetupOptions, observer: &dyn Observer) -> Result<Programs> {
        let rust = self.wants(Language::Rust).then(|| rust::ensure(lab, setup, observer));
        Ok(Programs { c: self.wants(Language::C), rust: rust.transpose()? })
    }
}
