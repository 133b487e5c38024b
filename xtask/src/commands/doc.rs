//! `cargo xtask doc`: what is generated in docs/.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hooklab::exit::Exit;
use hooklab::out;
use hooklab::report::merge;

use crate::checkout::Checkout;
use crate::page::Page;

/// Generate docs/report.schema.json and, from a report, the table in docs/kernels.md
#[derive(Debug, Args)]
pub(crate) struct Doc {
    /// A report that `vm-test --all one_pid --json` wrote: generate the table in docs/kernels.md, too
    #[arg(value_name = "PATH")]
    report: Option<PathBuf>,
    /// Write nothing: exit with 1 if a file is out of date
    #[arg(long)]
    check: bool,
}

impl Doc {
    /// Writes the files, or compares them.
    pub(crate) fn run(&self, checkout: &Checkout) -> Result<Exit> {
        let root = &checkout.root;
        let kernels =
            self.report.as_ref().map(|path| Page::kernels(root, &merge::read(path)?)).transpose()?;
        let mut exit = Exit::Success;
        for page in [Page::schema(root)?].into_iter().chain(kernels) {
            let name = page.path().strip_prefix(root).unwrap_or(page.path()).display();
            match (page.is_stale(), self.check) {
                (false, _) => out!("{name} is up to date"),
                (true, false) => {
                    page.write()?;
                    out!("{name} is written");
                }
                (true, true) => {
                    out!("{name} is out of date: `cargo xtask doc` with the same report updates it");
                    exit = Exit::TestsFailed;
                }
            }
        }
        Ok(exit)
    }
}
