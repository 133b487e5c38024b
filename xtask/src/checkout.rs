//! This checkout: where it is, and the programs for guests that it builds.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hooklab::guest_half::{GuestHalf, GuestPrograms};
use hooklab::lab::Lab;
use hooklab::project::Project;
use hooklab::setup::{Need, find_program, library};
use hooklab_vm::event::Observer;
use hooklab_vm::kernel::Document;

use crate::build::{self, Programs};

/// What it takes to build the programs for guests, static as they are.
const NEEDS: &[Need] = &[
    Need { package: "make", is_there: |_| find_program("make").is_some() },
    Need { package: "pkg-config", is_there: |_| find_program("pkg-config").is_some() },
    Need { package: "libelf-dev", is_there: |_| library("libelf.a").is_some() },
    Need { package: "zlib1g-dev", is_there: |_| library("libz.a").is_some() },
];

/// A checkout of hooklab.
#[derive(Debug, Clone)]
pub(crate) struct Checkout {
    pub(crate) root: PathBuf,
    /// Cargo's target directory.
    pub(crate) target: PathBuf,
}

impl Checkout {
    /// The checkout whose xtask cargo runs. Asked for at run time: what was compiled may have been moved or copied since,
    /// or come from another checkout with the same target directory.
    pub(crate) fn find() -> Result<Self> {
        let package =
            std::env::var_os("CARGO_MANIFEST_DIR").context("cargo does not run this: use `cargo xtask`")?;
        let root = Path::new(&package).parent().context("failed to find the checkout")?.to_owned();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        Ok(Self { root, target: std::path::absolute(target)? })
    }

    /// What is made besides cargo's own files: objects, packages, logs.
    pub(crate) fn work(&self) -> PathBuf {
        self.target.join("hooklab")
    }

    /// The kernels of this checkout.
    pub(crate) fn project(&self) -> Project {
        let file = |name: &str| Document::File(self.root.join("vm").join(name));
        Project { root: self.root.clone(), catalog: file("kernels.toml"), pins: file("kernels.lock") }
    }
}

impl GuestHalf for Checkout {
    fn needs(&self) -> &'static [Need] {
        NEEDS
    }

    fn programs(&self, lab: &Lab, observer: &dyn Observer) -> Result<GuestPrograms> {
        Ok(build::build(self, lab, &Programs::default(), observer)?.guest)
    }

    fn packager(&self, lab: &Lab, observer: &dyn Observer) -> Result<PathBuf> {
        build::build_packager(self, lab, observer)
    }
}
