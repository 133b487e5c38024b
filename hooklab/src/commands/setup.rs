//! `hooklab setup`: gets what is missing.

use anyhow::Result;
use clap::Args;

use crate::exit::Exit;
use crate::lab::Lab;
use crate::options::SetupOptions;
use crate::report;
use crate::setup::{self, Purpose};

/// Install what is missing
#[derive(Debug, Args)]
#[command(after_help = "\
Debian packages come by apt-get, as root or by password-less sudo; virtme-ng goes into a private virtual environment in the cache directory. Nothing else on the system is touched.")]
pub struct Setup {
    /// What may be installed, and how.
    #[command(flatten)]
    setup: SetupOptions,
}

impl Setup {
    /// Installs what is missing.
    ///
    /// # Errors
    /// It cannot or must not be installed.
    pub fn run(&self, lab: &Lab) -> Result<Exit> {
        let reporter = report::steps();
        setup::ensure(lab, &[Purpose::Compile, Purpose::Run], &self.setup, reporter.as_ref())?;
        let tools = setup::tools(lab)?;
        drop(reporter);
        out!("ready: {}, virtme-ng {}", tools.qemu_version, tools.vng_version);
        Ok(Exit::Success)
    }
}
