//! The commands, one in each file: its flags, and what it does.

mod exec;
mod explain;
mod kernels;
mod package;
mod report;
mod run;
mod setup;
mod shell;
mod test;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::exit::Exit;
use crate::lab::Lab;

pub use exec::Exec;
pub use explain::Explain;
pub use kernels::Kernels;
pub use package::Package;
pub use report::Report;
pub use run::Run;
pub use setup::Setup;
pub use shell::{Shell, virtme};
pub use test::{CargoOptions, Test};

/// Run eBPF programs, and the tests of projects that use eBPF, on real Linux kernels in QEMU, without root.
#[derive(Debug, Parser)]
#[command(name = "hooklab", bin_name = "hooklab", version, after_help = NOTES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Exit codes and environment, for the end of a help text.
pub const NOTES: &str = "\
Exit codes:
  0    all is well
  1    a test failed, a check found a difference, or a program cannot be built or packaged
  2    the command line is wrong
  3    the lab could not do its job: no such kernel, no QEMU, a guest that never came up
  130  interrupted

Environment:
  HOOKLAB_CACHE            directory for kernels, tools and saved machines; hooklab/ in your cache directory without it
  HOOKLAB_ECLI             what --ecli says, where it is not given
  HOOKLAB_SAVED_MIB        quota of saved machines, in MiB; 4096 without it
  HOOKLAB_MIRROR           a Debian mirror, where the host's own apt sources name none
  HOOKLAB_SECURITY_MIRROR  its security archive, if not at the same URL with -security appended
  NO_COLOR                 no colours";

/// All commands of the tool.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build the tests of the package in the current directory, and run them on kernels
    Test(Box<Test>),
    /// Install what is missing; the other commands do this by themselves
    Setup(Setup),
    /// The others.
    #[command(flatten)]
    Common(Common),
}

/// The commands that do not depend on what is tested: a checkout of hooklab offers them as well.
#[derive(Debug, Subcommand)]
pub enum Common {
    /// Run one program in guests with a workload, and show what it prints and sends
    ///
    /// The program is compiled if need be, loaded and attached; then COMMAND runs in the guest, or without one a built-in
    /// workload that makes the system calls that people trace. What the program prints (trace_pipe) and sends (ring
    /// buffers, perf event arrays, iterators) appears as it comes.
    Run(Box<Run>),
    /// Run a command of this host on kernels: its exit code is the verdict
    Exec(Box<Exec>),
    /// Show on which kernels programs load, and why not on the others
    Explain(Box<Explain>),
    /// Compile a program and pack it, as `ecc` does: NAME.bpf.o, NAME.skel.json and package.json
    Package(Package),
    /// List, pin, fetch and remove kernels
    Kernels(Kernels),
    /// Open a shell on a kernel, with the host's files read-only
    Shell(Shell),
    /// Work with JSON reports
    Report(Report),
}

impl Command {
    /// Carries the command out.
    ///
    /// # Errors
    /// What the command could not do.
    pub fn run(&self, lab: &Lab) -> Result<Exit> {
        let done = match self {
            Command::Test(command) => command.run(lab),
            Command::Setup(command) => command.run(lab),
            Command::Common(command) => return command.run(lab),
        };
        unless_interrupted(lab, done)
    }
}

impl Common {
    /// Carries the command out.
    ///
    /// # Errors
    /// What the command could not do.
    pub fn run(&self, lab: &Lab) -> Result<Exit> {
        let done = match self {
            Common::Run(command) => command.run(lab),
            Common::Exec(command) => command.run(lab),
            Common::Explain(command) => command.run(lab),
            Common::Package(command) => command.run(lab),
            Common::Kernels(command) => command.run(lab),
            Common::Shell(command) => command.run(lab),
            Common::Report(command) => command.run(lab),
        };
        unless_interrupted(lab, done)
    }
}

/// What an interrupt made fail is no failure of its own.
///
/// # Errors
/// That of `done`, or that the user interrupted it.
pub fn unless_interrupted(lab: &Lab, done: Result<Exit>) -> Result<Exit> {
    if done.is_err() {
        lab.check_interrupt()?;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
