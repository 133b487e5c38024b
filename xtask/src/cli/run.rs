//! `run`.

use std::path::PathBuf;

use clap::Args;
use hooklab_vm::accel::Choice;
use hooklab_vm::kernel::Selector;

use super::options::{EcliOptions, KernelOptions, SetupOptions};
use super::values::{kernels, pid};

/// Run one program in guests, and show what it prints
///
/// Two processes in the guest write: the first one three times, the other one twice.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask run -k 6.12 target/tutorial/package.json
                                                   with eunomia's engine, as `ecli run package.json` does
  cargo xtask run -k 6.12 --pid-filter writer target/tutorial/package.json
                                                   the same for one process alone
  cargo xtask run -k 5.10 -k newest -l libbpf target/tutorial/minimal.bpf.o
                                                   an object, on two kernels
  cargo xtask run -l ecli --ecli ~/ecli/bin/ecli-rs target/tutorial/package.json
                                                   with upstream's own ecli")]
pub(crate) struct Run {
    /// A package.json, or a compiled object, with tracepoint programs
    #[arg(value_name = "PROGRAM")]
    pub(crate) program: PathBuf,
    /// A kernel, or several, as for vm-test; may be repeated. The first of vm-test's own without it
    #[arg(short, long = "kernel", value_name = "SPEC", value_parser = kernels)]
    pub(crate) kernels: Vec<Selector>,
    /// What loads it: aya, libbpf, or for packages eunomia or ecli. Without it eunomia for a package, libbpf for an
    /// object
    #[arg(
        short,
        long,
        value_name = "NAME",
        value_parser = ["aya", "libbpf", "eunomia", "ecli"],
        hide_possible_values = true
    )]
    pub(crate) loader: Option<String>,
    #[command(flatten)]
    pub(crate) ecli: EcliOptions,
    /// Set the program's `pid_filter`: to a PID, or to that of the first of the two that write
    #[arg(long, value_name = "PID|writer", value_parser = pid)]
    pub(crate) pid_filter: Option<String>,
    /// What runs the guest's instructions: auto, kvm or tcg
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) accel: Choice,
    #[command(flatten)]
    pub(crate) kernel_options: KernelOptions,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
}
