//! `cargo xtask test`: every test there is.

use anyhow::Result;
use clap::Parser;
use xshell::{Shell, cmd};

use crate::cli::{Cli, Command as Subcommand, Test};
use crate::exit::Exit;
use crate::lab::Lab;
use crate::report;
use crate::setup::{self, Purpose};

impl Test {
    /// Runs what needs no guest, then the command line's tests, then vm-test on the default kernels.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Exit> {
        let reporter = report::live(false);
        setup::ensure(lab, Purpose::Run, &self.setup, reporter.as_ref())?;
        super::programs(lab, &self.programs, &self.setup, reporter.as_ref())?;
        drop(reporter);
        if !cargo_test(lab, &["--workspace"])? {
            return Ok(Exit::TestsFailed);
        }
        let exit = self.vm_test().run(lab)?;
        if exit != Exit::Success {
            return Ok(exit);
        }
        // Now that everything is built and cached, the command line is tested with real runs, too.
        let passed = cargo_test(
            lab,
            &["--package", "hooklab-tests", "--test", "cli", "--features", "lab", "--", "--test-threads=1"],
        )?;
        Ok(if passed { Exit::Success } else { Exit::TestsFailed })
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

fn cargo_test(lab: &Lab, arguments: &[&str]) -> Result<bool> {
    lab.check_interrupt()?;
    let (shell, cargo) = (Shell::new()?, setup::cargo());
    shell.change_dir(&lab.root);
    let passed = cmd!(shell, "{cargo} test --no-fail-fast {arguments...}").run().is_ok();
    lab.check_interrupt()?;
    Ok(passed)
}
