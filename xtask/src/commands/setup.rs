//! `cargo xtask setup`

use anyhow::Result;

use crate::cli::Setup;
use crate::exit::Exit;
use crate::lab::Lab;
use crate::report;
use crate::setup::{self, Purpose};

impl Setup {
    /// Installs what is missing.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Exit> {
        let reporter = report::live(false);
        setup::ensure(lab, Purpose::Run, &self.setup, reporter.as_ref())?;
        super::programs(lab, &self.programs, &self.setup, reporter.as_ref())?;
        let tools = setup::tools(lab)?;
        drop(reporter);
        out!("ready: {}, virtme-ng {}", tools.qemu_version, tools.vng_version);
        Ok(Exit::Success)
    }
}
