//! `cargo xtask doc`: what a report says of the kernels, in docs/kernels.md.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hooklab::exit::Exit;
use hooklab::out;
use hooklab::report::merge;

use crate::checkout::Checkout;
use crate::page::Page;

/// Put what a report says of the kernels into docs/kernels.md
#[derive(Debug, Args)]
pub(crate) struct Doc {
    /// A report that `vm-test --all one_pid --json` wrote
    #[arg(value_name = "PATH")]
    report: PathBuf,
    /// Write nothing: exit with 1 if the page says something else
    #[arg(long)]
    check: bool,
}

impl Doc {
    /// Writes the page, or compares it.
    pub(crate) fn run(&self, checkout: &Checkout) -> Result<Exit> {
        let page = Page::new(&checkout.root, &merge::read(&self.report)?)?;
        match (page.is_stale(), self.check) {
            (false, _) => out!("docs/kernels.md says what the report says"),
            (true, false) => page.write()?,
            (true, true) => {
                out!(
                    "docs/kernels.md says something else: `cargo xtask doc {}` corrects it",
                    self.report.display()
                );
                return Ok(Exit::TestsFailed);
            }
        }
        Ok(Exit::Success)
    }
}
