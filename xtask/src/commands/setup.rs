//! `cargo xtask setup`

use anyhow::Result;
use clap::Args;
use hooklab::exit::Exit;
use hooklab::lab::Lab;
use hooklab::options::SetupOptions;
use hooklab::out;
use hooklab::report;
use hooklab::setup::{self, Purpose};

use crate::programs::ProgramOptions;

/// Install what is missing
#[derive(Debug, Args)]
#[command(after_help = "\
Debian packages come by apt-get, as root or by password-less sudo; virtme-ng goes into a private virtual environment in the cache directory. For the program in Rust, bpf-linker is built in the cache directory, once, and rustup adds its component rust-src or, where it cannot, Debian's package of that name is unpacked there. Nothing else on the system is touched.")]
pub(crate) struct Setup {
    #[command(flatten)]
    pub(crate) programs: ProgramOptions,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
}

impl Setup {
    /// Installs what is missing.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Exit> {
        let reporter = report::steps();
        setup::ensure(lab, &[Purpose::Compile, Purpose::Run], &self.setup, reporter.as_ref())?;
        self.programs.ready(lab, &self.setup, reporter.as_ref())?;
        let tools = setup::tools(lab)?;
        drop(reporter);
        out!("ready: {}, virtme-ng {}", tools.qemu_version, tools.vng_version);
        Ok(Exit::Success)
    }
}
