//! `cargo xtask test`: every test there is, or a suite of them.

use anyhow::Result;
use clap::{Parser, ValueEnum};
use xshell::{Shell, cmd};

use crate::cli::{Cli, Command as Subcommand, Suite, Test};
use crate::exit::Exit;
use crate::lab::Lab;
use crate::report;
use crate::setup::{self, Purpose};

/// What the names of the fault suite's tests begin with.
const FAULTS: &str = "faults::";

impl Test {
    /// Runs the suites in order, up to the first that does not pass.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Exit> {
        let reporter = report::live(false);
        setup::ensure(lab, Purpose::Run, &self.setup, reporter.as_ref())?;
        super::programs(lab, &self.programs, &self.setup, reporter.as_ref())?;
        drop(reporter);
        for suite in Suite::value_variants() {
            if !self.suites.is_empty() && !self.suites.contains(suite) {
                continue;
            }
            let exit = match suite {
                Suite::Host => cargo_test(lab, &["--workspace"])?,
                Suite::Guest => self.vm_test().run(lab)?,
                // Last: once all is built and cached, these run the command line itself.
                Suite::Cli => command_line(lab, &["--skip", FAULTS])?,
                Suite::Faults => command_line(lab, &[FAULTS])?,
            };
            if exit != Exit::Success {
                return Ok(exit);
            }
        }
        Ok(Exit::Success)
    }

    /// `vm-test` as a user would call it without arguments.
    fn vm_test(&self) -> crate::cli::VmTest {
        match Cli::parse_from(["cargo xtask", "vm-test"]).command {
            Subcommand::VmTest(command) => {
                crate::cli::VmTest { programs: self.programs.clone(), setup: self.setup.clone(), ..command }
            }
            _ => unreachable!("the line names vm-test"),
        }
    }
}

/// Tests of the command line, one at a time: each may take the whole machine.
fn command_line(lab: &Lab, filter: &[&str]) -> Result<Exit> {
    let tests =
        ["--package", "hooklab-tests", "--test", "cli", "--features", "lab", "--", "--test-threads=1"];
    cargo_test(lab, &[&tests[..], filter].concat())
}

fn cargo_test(lab: &Lab, arguments: &[&str]) -> Result<Exit> {
    lab.check_interrupt()?;
    let (shell, cargo) = (Shell::new()?, setup::cargo());
    shell.change_dir(&lab.root);
    let passed = cmd!(shell, "{cargo} test --no-fail-fast {arguments...}").run().is_ok();
    lab.check_interrupt()?;
    Ok(if passed { Exit::Success } else { Exit::TestsFailed })
}
