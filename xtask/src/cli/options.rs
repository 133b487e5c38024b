//! Options that several commands have.

use std::ffi::OsString;

use clap::{Args, ValueEnum};

/// What may be done to this machine to make the lab work.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Set-up")]
pub(crate) struct SetupOptions {
    /// Install missing Debian packages without asking
    #[arg(short, long, conflicts_with = "no_install")]
    pub(crate) yes: bool,
    /// Install nothing: print the command that would, and exit with 3
    #[arg(long)]
    pub(crate) no_install: bool,
}

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
}

/// Upstream's own program `ecli`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct EcliOptions {
    /// The loader ecli is this program: upstream's own, of the crate ecli-rs. Without it the one on PATH, if there is
    /// one; "none" for none at all
    #[arg(long, value_name = "PATH", env = "HOOKLAB_ECLI", hide_env_values = true)]
    pub(crate) ecli: Option<OsString>,
}

/// Where kernels come from.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Kernels")]
pub(crate) struct KernelOptions {
    /// Refuse kernels other than exactly those in vm/kernels.lock
    #[arg(long)]
    pub(crate) locked: bool,
    /// Use only kernels that are in the cache
    #[arg(long)]
    pub(crate) offline: bool,
    /// Look for kernels also in rolling suites (sid, experimental) whose index has expired, as it does on a mirror that
    /// stands still; its signature is checked all the same
    #[arg(long)]
    pub(crate) accept_expired: bool,
    /// Take kernels from this Debian mirror, not from the one in the host's own apt sources
    #[arg(long, value_name = "URL", env = "HOOKLAB_MIRROR", hide_env_values = true)]
    pub(crate) mirror: Option<String>,
}
