//! The programs that go into guests: those installed beside the tool, or those that a checkout builds.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hooklab_vm::event::Observer;

use crate::lab::{GuestHalf, GuestPrograms, Lab, Need};

/// The loader that runs the others, as it is called in a guest.
pub const LOADER: &str = "hooklab-loader";

/// The loaders that come with eunomia's engine: a third of what there is to be sent.
pub const EUNOMIA: &str = "hooklab-loader-eunomia";

/// The programs that `cargo install` puts beside the tool.
#[derive(Debug)]
pub struct Installed {
    directory: PathBuf,
}

impl Installed {
    /// Beside this program.
    ///
    /// # Errors
    /// The system does not say where this program is.
    pub fn beside_this_program() -> Result<Self> {
        let program = std::env::current_exe().context("failed to find this program's own directory")?;
        Ok(Self { directory: program.parent().unwrap_or(Path::new("/")).to_owned() })
    }

    fn find(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        anyhow::ensure!(
            path.is_file(),
            "{} is missing: it is installed with hooklab. Install hooklab again, with its default features",
            path.display()
        );
        Ok(path)
    }
}

impl GuestHalf for Installed {
    fn needs(&self) -> &'static [Need] {
        &[]
    }

    fn programs(&self, _lab: &Lab, _observer: &dyn Observer) -> Result<GuestPrograms> {
        let loaders = [(LOADER, "hooklab-guest-loader"), (EUNOMIA, "hooklab-guest-eunomia")];
        let loaders = loaders.map(|(name, file)| Ok((name.to_owned(), self.find(file)?)));
        Ok(GuestPrograms {
            agent: self.find("hooklab-guest-agent")?,
            demo: self.find("hooklab-guest-demo")?,
            loaders: loaders.into_iter().collect::<Result<_>>()?,
        })
    }

    fn packager(&self, _lab: &Lab, _observer: &dyn Observer) -> Result<PathBuf> {
        self.find("hooklab-packager")
    }
}
