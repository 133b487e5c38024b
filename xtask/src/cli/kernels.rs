//! `kernels` and its commands.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use hooklab_vm::kernel::Selector;

use super::options::KernelOptions;
use super::values::kernels;

/// List, pin, fetch and remove kernels
#[derive(Debug, Args)]
pub(crate) struct Kernels {
    #[command(subcommand)]
    pub(crate) command: KernelsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KernelsCommand {
    /// Show each supported kernel, what it is pinned to, and whether that is in the cache
    List {
        /// A table for a person, or JSON on one line, as the matrix of a CI wants it
        #[arg(long, value_name = "NAME", default_value = "text")]
        format: ListFormat,
    },
    /// Pin every kernel to the newest version that the mirror offers, in vm/kernels.lock
    Lock {
        /// Write nothing: say which pins are behind or gone, and exit with 1 if any is
        #[arg(long)]
        check: bool,
        /// Only these (a series, "rc", "lts", "newest", a range); may be repeated
        #[arg(long, value_name = "SPEC", value_parser = kernels)]
        series: Vec<Selector>,
        #[command(flatten)]
        options: KernelOptions,
    },
    /// Fill the cache
    Fetch {
        /// Series, releases, words or ranges, as vm-test takes them; all in vm/kernels.toml if none is given
        #[arg(value_name = "SPEC", value_parser = kernels)]
        kernels: Vec<Selector>,
        #[command(flatten)]
        options: KernelOptions,
    },
    /// Remove from the cache what vm/kernels.lock does not name
    Prune,
    /// Put what a report says of the kernels into docs/kernels.md
    Doc {
        /// A report that `vm-test --all one_pid --json` wrote
        #[arg(value_name = "PATH")]
        report: PathBuf,
        /// Write nothing: exit with 1 if the page says something else
        #[arg(long)]
        check: bool,
    },
}

/// How `kernels list` shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    Text,
    Json,
}
