//! The whole command line: the chores of this repository, and the tool's commands with what this checkout builds.

use clap::{Parser, Subcommand};
use hooklab::commands::{Common, NOTES};

use crate::commands::{Bench, Build, Doc, Setup, Soak, Test, VmTest};

/// Works on hooklab itself: builds and tests what is in this checkout.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = NOTES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Boot kernels and run the guest tests on them; sets up and builds what is missing
    VmTest(Box<VmTest>),
    /// Run every test of the repository: unit tests, command line, and vm-test on the default kernels
    Test(Test),
    /// Install what is missing; vm-test and test do this by themselves
    Setup(Setup),
    /// Build the eBPF objects, the loaders, the agent and the guest tests
    Build(Build),
    /// Measure the lab against plain virtme-ng, as ratios within one run
    Bench(Bench),
    /// Run tests over and over with random fault injection
    Soak(Soak),
    /// Put what a report says of the kernels into docs/kernels.md
    Doc(Doc),
    #[command(flatten)]
    Common(Common),
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::checkout::Checkout;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_documentation_names_only_commands_that_there_are() {
        let root = Checkout::find().unwrap().root;
        let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
        let pages = docs.chain(["README.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
        let mut found = 0;
        for page in pages.filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
            for line in fs::read_to_string(&page).unwrap().lines() {
                let Some(words) = line.trim_start_matches("$ ").strip_prefix("cargo xtask ") else {
                    continue;
                };
                let words = shell_words::split(words.split(" #").next().unwrap_or_default()).unwrap();
                let parsed = Cli::try_parse_from(["cargo xtask".to_owned()].into_iter().chain(words));
                assert!(parsed.is_ok(), "{}: {line}: {}", page.display(), parsed.unwrap_err());
                found += 1;
            }
        }
        assert!(found > 5, "only {found} commands found");
    }
}
