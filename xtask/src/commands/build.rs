//! `cargo xtask build`

use anyhow::Result;

use crate::cli::Build;
use crate::exit::Exit;
use crate::lab::Lab;
use crate::setup::{self, Purpose};
use crate::{build, report};

impl Build {
    /// Builds what a guest runs, and says where it is.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Exit> {
        let reporter = report::live(false);
        setup::ensure(lab, Purpose::Build, &self.setup, reporter.as_ref())?;
        let programs = super::programs(lab, &self.programs, &self.setup, reporter.as_ref())?;
        let artifacts = build::build(lab, &programs, reporter.as_ref())?;
        let payload = build::pack(lab, &artifacts, None)?;
        drop(reporter);
        let tests = [&artifacts.agent, &artifacts.tests, &artifacts.specimens];
        for path in artifacts.programs.iter().chain(tests).chain(&artifacts.objects) {
            out!("{}", path.strip_prefix(&lab.root).unwrap_or(path).display());
        }
        out!("payload: {:.1} MiB", payload.len() as f64 / f64::from(1 << 20));
        Ok(Exit::Success)
    }
}
