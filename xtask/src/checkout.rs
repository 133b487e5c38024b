//! This checkout: where it is, and where its files are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hooklab::project::Project;
use hooklab_vm::kernel::Document;

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
