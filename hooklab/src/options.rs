//! Options that several commands have.

use std::ffi::OsString;

use clap::Args;
use hooklab_vm::qemu::accelerator::Choice;

/// What may be done to this machine to make the lab work.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Set-up")]
pub struct SetupOptions {
    /// Install missing Debian packages without asking
    #[arg(short, long, conflicts_with = "no_install")]
    pub yes: bool,
    /// Install nothing: print the command that would, and exit with 3
    #[arg(long)]
    pub no_install: bool,
}

/// What it takes to boot one kernel, or several.
#[derive(Debug, Clone, Args)]
pub struct MachineOptions {
    /// What runs the guest's instructions: auto, kvm or tcg
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub accel: Choice,
    /// Where kernels come from.
    #[command(flatten)]
    pub kernels: KernelOptions,
    /// What may be installed.
    #[command(flatten)]
    pub setup: SetupOptions,
}

/// Upstream's own program `ecli`.
#[derive(Debug, Clone, Default, Args)]
pub struct EcliOptions {
    /// The loader ecli is this program: upstream's own, of the crate ecli-rs. Without it the one on PATH, if there is
    /// one; "none" for none at all
    #[arg(long, value_name = "PATH", env = "HOOKLAB_ECLI", hide_env_values = true)]
    pub ecli: Option<OsString>,
}

/// Where kernels come from.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Kernels")]
pub struct KernelOptions {
    /// Refuse kernels other than exactly the pinned ones
    #[arg(long)]
    pub locked: bool,
    /// Use only kernels that are in the cache
    #[arg(long)]
    pub offline: bool,
    /// Look for kernels also in rolling suites (sid, experimental) whose index has expired, as it does on a mirror that
    /// stands still; its signature is checked all the same
    #[arg(long)]
    pub accept_expired: bool,
    /// Take kernels from this Debian mirror, not from the one in the host's own apt sources
    #[arg(long, value_name = "URL", env = "HOOKLAB_MIRROR", hide_env_values = true)]
    pub mirror: Option<String>,
}
