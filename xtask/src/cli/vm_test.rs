//! `vm-test`.

use std::path::PathBuf;

use clap::Args;
use hooklab_vm::accel::Choice;
use hooklab_vm::kernel::Selector;

use super::options::{EcliOptions, KernelOptions, ProgramOptions, SetupOptions};
use super::values::kernels;
use crate::shard::Shard;

/// Boot kernels and run the guest tests on them
///
/// Without --kernel or --all: one long-term series and the newest one.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cargo xtask vm-test                              the default kernels, every test
  cargo xtask vm-test -k 5.10 -k 6.12              these two series
  cargo xtask vm-test -k lts -k \">=7.1\"            the long-term ones and those from 7.1 on
  cargo xtask vm-test -k ~/linux/arch/x86/boot/bzImage -l aya filter
                                                   aya's filter tests on a kernel of your own
  sudo -E env PATH=\"$PATH\" cargo xtask vm-test -k host
                                                   on the running kernel, without a machine
  cargo xtask vm-test -l ecli --ecli ~/ecli/bin/ecli-rs
                                                   the tests of upstream's own ecli
  cargo xtask vm-test --all --json out.json --junit out.xml")]
pub(crate) struct VmTest {
    /// Run only tests whose name contains one of these
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
    /// A kernel: a series (6.12), an exact release (6.12.117), "rc", a path to a vmlinuz or bzImage, a kernel
    /// build tree, or "host" (the running kernel); or several: "lts", "newest", a range (">=6.1, <7"); may be
    /// repeated
    #[arg(short, long = "kernel", value_name = "SPEC", value_parser = kernels, conflicts_with = "all")]
    pub(crate) kernels: Vec<Selector>,
    /// Every kernel in vm/kernels.toml
    #[arg(long)]
    pub(crate) all: bool,
    /// Only the I-th of N parts of these kernels, the same however they are ordered
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Only tests of this loader, leaving out those that are not one loader's own; may be repeated
    #[arg(short, long = "loader", value_name = "NAME")]
    pub(crate) loaders: Vec<String>,
    #[command(flatten)]
    pub(crate) ecli: EcliOptions,
    /// Run the tests of this static libtest binary instead of the lab's own
    #[arg(long, value_name = "PATH", conflicts_with = "bless")]
    pub(crate) binary: Option<PathBuf>,
    /// Machines at a time; where there are fewer kernels, several share a kernel's tests [default: as many as there
    /// are processors, if there is memory for them]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: Option<u16>,
    /// Boot every machine: neither resume saved ones nor save any
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Run each test on a pristine machine of its own
    #[arg(long)]
    pub(crate) isolate: bool,
    /// What runs the guest's instructions: auto, kvm or tcg
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) accel: Choice,
    /// Time limit for one test
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
    /// Time limit for a guest to come up
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) boot_timeout: u64,
    /// Stop at the first test that does not pass
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Run a test that does not pass again, up to this many times, each on a fresh machine; one that passes then is
    /// reported as flaky
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u8).range(..=99))]
    pub(crate) retries: u8,
    /// Accept what the tests saw as their new snapshots
    #[arg(long)]
    pub(crate) bless: bool,
    /// Do not compare the kernel after each test with what it was before; to measure what that costs
    #[arg(long, hide = true)]
    pub(crate) no_checks: bool,
    /// List the tests that would run, and stop
    #[arg(long)]
    pub(crate) list: bool,
    /// Show also what each kernel can do, and what it made of the programs
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Write the results to this file as JSON
    #[arg(long, value_name = "PATH")]
    pub(crate) json: Option<PathBuf>,
    /// Write the results to this file as JUnit XML
    #[arg(long, value_name = "PATH")]
    pub(crate) junit: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) programs: ProgramOptions,
    #[command(flatten)]
    pub(crate) kernel_options: KernelOptions,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
}
