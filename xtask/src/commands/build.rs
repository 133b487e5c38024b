//! `cargo xtask build`

use anyhow::Result;
use clap::Args;
use hooklab::exit::Exit;
use hooklab::lab::Lab;
use hooklab::options::SetupOptions;
use hooklab::out;
use hooklab::report;
use hooklab::setup::{self, Purpose};

use crate::build;
use crate::checkout::Checkout;
use crate::programs::ProgramOptions;

/// Build the eBPF objects, the loaders, the agent and the guest tests
#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) programs: ProgramOptions,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
}

impl Build {
    /// Builds what a guest runs, and says where it is.
    pub(crate) fn run(&self, checkout: &Checkout, lab: &Lab) -> Result<Exit> {
        let reporter = report::steps();
        setup::ensure(lab, &[Purpose::Compile], &self.setup, reporter.as_ref())?;
        let programs = self.programs.ready(lab, &self.setup, reporter.as_ref())?;
        let artifacts = build::build(checkout, lab, &programs, reporter.as_ref())?;
        let payload = build::pack(checkout, &artifacts, None)?;
        drop(reporter);
        let guest = &artifacts.guest;
        let binaries = [&artifacts.actor, &guest.agent, &artifacts.tests, &artifacts.misbehaving];
        let loaders = guest.loaders.iter().map(|(_, path)| path);
        for path in loaders.chain(binaries).chain(&artifacts.objects) {
            out!("{}", path.strip_prefix(&checkout.root).unwrap_or(path).display());
        }
        out!("payload: {:.1} MiB", payload.archive.len() as f64 / f64::from(1 << 20));
        Ok(Exit::Success)
    }
}
