//! `cargo xtask test`: every test there is, or a suite of them.

#[path = "../../../tests/needs.rs"]
mod needs;

use std::path::Path;

use anyhow::Result;
use clap::{Args, Parser, ValueEnum};
use hooklab::campaign::RunOptions;
use hooklab::exit::Exit;
use hooklab::lab::Lab;
use hooklab::options::SetupOptions;
use hooklab::setup::{self, Purpose};
use hooklab::{err, out, report};
use xshell::{Shell, cmd};

use super::VmTest;
use crate::checkout::Checkout;
use crate::programs::ProgramOptions;

/// What the names of the fault suite's tests begin with.
const FAULTS: &str = "faults::";

/// Run every test of the repository
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  All there are:                                  cargo xtask test
  Only what happens to runs that are interfered with:  cargo xtask test faults

What needs no guest runs by plain `cargo test`, once `cargo xtask setup` has run.")]
pub(crate) struct Test {
    /// Only these of the suites, each once, in the order in which they are listed here
    #[arg(value_name = "SUITE")]
    pub(crate) suites: Vec<Suite>,
    #[command(flatten)]
    pub(crate) programs: ProgramOptions,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
}

/// A part of the repository's tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// What needs no guest
    Host,
    /// vm-test on the default kernels
    Guest,
    /// The command line, mostly with real guests
    Cli,
    /// Faults, caused for real: in guests, in QEMU, on the way from the mirror, in the cache
    Faults,
}

impl Test {
    /// Runs the suites in order, up to the first that does not pass, and lists the tests that this host cannot run.
    pub(crate) fn run(&self, checkout: &Checkout, lab: &Lab) -> Result<Exit> {
        let left_out = LeftOut::find(&checkout.root, |suite| self.wants(suite));
        let exit = self.suites(checkout, lab, &left_out)?;
        let allowed = left_out.report();
        Ok(if exit == Exit::Success && !allowed { Exit::TestsFailed } else { exit })
    }

    fn wants(&self, suite: Suite) -> bool {
        self.suites.is_empty() || self.suites.contains(&suite)
    }

    fn suites(&self, checkout: &Checkout, lab: &Lab, left_out: &LeftOut) -> Result<Exit> {
        let reporter = report::steps();
        setup::ensure(lab, &[Purpose::Compile, Purpose::Run], &self.setup, reporter.as_ref())?;
        self.programs.ready(lab, &self.setup, reporter.as_ref())?;
        drop(reporter);
        for suite in Suite::value_variants() {
            if !self.wants(*suite) {
                continue;
            }
            let exit = match suite {
                Suite::Host => cargo_test(checkout, lab, &["--workspace"])?,
                Suite::Guest => self.vm_test().run(checkout, lab)?,
                // Last: once all is built and cached, these run the command line itself.
                Suite::Cli | Suite::Faults => command_line(checkout, lab, left_out, *suite)?,
            };
            if exit != Exit::Success {
                return Ok(exit);
            }
        }
        Ok(Exit::Success)
    }

    /// `vm-test` as a user would call it without arguments.
    fn vm_test(&self) -> VmTest {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            command: VmTest,
        }
        let Line { command } = Line::parse_from(["vm-test"]);
        let run = RunOptions { setup: self.setup.clone(), ..command.run };
        VmTest { programs: self.programs.clone(), run, ..command }
    }
}

/// The tests of the suites that are run whose needs this host does not meet.
struct LeftOut {
    /// Each with what it lacks.
    tests: Vec<(&'static str, String)>,
}

impl LeftOut {
    fn find(root: &Path, wants: impl Fn(Suite) -> bool) -> Self {
        let wanted = needs::TABLE.iter().filter(|(test, _)| wants(suite_of(test)));
        let lacks = wanted.filter_map(|(test, needs)| {
            let lacks: Vec<String> = needs.iter().filter_map(|need| need.probe(root).err()).collect();
            (!lacks.is_empty()).then(|| (*test, lacks.join(", and ")))
        });
        Self { tests: lacks.collect() }
    }

    /// Lists and counts them. Whether that is all right: where `CI` is set, only tests that a committed list names may be
    /// left out.
    fn report(&self) -> bool {
        let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        let mut allowed = true;
        for (test, lacks) in &self.tests {
            out!("not run: {test} (needs {lacks})");
            if in_ci && !needs::NOT_RUN_IN_CI.lines().any(|line| line == *test) {
                err!("error: CI is set, and tests/not-run-in-ci.txt does not name {test}");
                allowed = false;
            }
        }
        match self.tests.len() {
            0 => {}
            1 => out!("1 test of the command line was not run"),
            count => out!("{count} tests of the command line were not run"),
        }
        allowed
    }
}

/// Tests of the command line, one at a time: each may take the whole machine.
fn command_line(checkout: &Checkout, lab: &Lab, left_out: &LeftOut, suite: Suite) -> Result<Exit> {
    let tests = ["--package", "hooklab-tests", "--test", "cli", "--features", "lab"];
    let (shell, cargo) = shell(checkout, lab)?;
    let Ok(listed) = cmd!(shell, "{cargo} test --quiet {tests...} -- --list").read() else {
        return Ok(Exit::TestsFailed);
    };
    let names = select(&listed, suite, &left_out.tests);
    // Without names, all suites would run; and that there is none says that the list was not understood.
    anyhow::ensure!(
        !names.is_empty(),
        "failed to find a test of the command line to run: `cargo test` lists none"
    );
    // Without `--exact`, a name stands for every test whose name contains it.
    cargo_test(checkout, lab, &[&tests[..], &["--", "--test-threads=1", "--exact"], &names].concat())
}

/// The tests of a suite among those that libtest lists, without those that are left out.
fn select<'a>(listed: &'a str, suite: Suite, left_out: &[(&str, String)]) -> Vec<&'a str> {
    let tests = listed.lines().filter_map(|line| line.strip_suffix(": test"));
    let wanted = tests.filter(|test| suite_of(test) == suite);
    wanted.filter(|test| !left_out.iter().any(|(name, _)| name == test)).collect()
}

/// The suite that a test of the command line belongs to.
fn suite_of(test: &str) -> Suite {
    if test.starts_with(FAULTS) { Suite::Faults } else { Suite::Cli }
}

fn cargo_test(checkout: &Checkout, lab: &Lab, arguments: &[&str]) -> Result<Exit> {
    let (shell, cargo) = shell(checkout, lab)?;
    let passed = cmd!(shell, "{cargo} test --no-fail-fast {arguments...}").run().is_ok();
    lab.check_interrupt()?;
    Ok(if passed { Exit::Success } else { Exit::TestsFailed })
}

/// A shell in the checkout, and the cargo to call there.
fn shell(checkout: &Checkout, lab: &Lab) -> Result<(Shell, std::ffi::OsString)> {
    lab.check_interrupt()?;
    let shell = Shell::new()?;
    shell.change_dir(&checkout.root);
    Ok((shell, setup::cargo()))
}

#[cfg(test)]
mod tests {
    use super::{Suite, select};

    #[test]
    fn a_test_that_is_left_out_takes_no_other_with_it() {
        let listed = "faults::disk::full: test\nfaults::disk::full_twice: test\ndefaults::disk::full: test\n\n\
                      3 tests, 0 benchmarks\n";
        let left_out = [("faults::disk::full", String::new())];
        assert_eq!(select(listed, Suite::Faults, &left_out), ["faults::disk::full_twice"]);
        assert_eq!(select(listed, Suite::Cli, &left_out), ["defaults::disk::full"]);
        assert_eq!(select(listed, Suite::Faults, &[]).len(), 2);
    }
}
