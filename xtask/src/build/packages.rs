//! Packages: objects with a description, as `ecc` makes them, for the tests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hooklab_vm::event::{Event, Observer};
use hooklab_vm::host::digest::{hex, sha256};
use xshell::{Shell, cmd};

use hooklab::setup;

use crate::checkout::Checkout;

/// Packages that `ecc` itself made, below the checkout.
const FIXTURES: &str = "tests/packages";
/// Objects that no package can be made of, and why the tests have them: there is no program in it.
const UNPACKABLE: [&str; 1] = ["no-program"];
/// Packs each object that has changed, and gives the packages, with those that `ecc` made.
pub(super) fn build(
    checkout: &Checkout,
    packager: &Path,
    objects: &[PathBuf],
    observer: &dyn Observer,
) -> Result<Vec<PathBuf>> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("failed to read {}", path.display()));
    let tool = sha256([read(packager)?]);
    let mut packages = Vec::new();
    for object in objects {
        let name = object.file_name().unwrap_or_default().to_string_lossy().replace(".bpf.o", "");
        if UNPACKABLE.contains(&name.as_str()) {
            continue;
        }
        let directory = checkout.work().join("packages").join(&name);
        let (package, stamp_path) = (directory.join("package.json"), directory.join("stamp"));
        let stamp = hex(&sha256([tool.as_slice(), &read(object)?]));
        if !package.exists() || fs::read_to_string(&stamp_path).ok().as_deref() != Some(stamp.as_str()) {
            observer.notify(Event::Step(format!("packing {name}")));
            let shell = Shell::new()?;
            setup::run(cmd!(shell, "{packager} {object} --name {name} --output {directory}"))
                .with_context(|| format!("failed to pack {name}"))?;
            fs::write(&stamp_path, stamp)
                .with_context(|| format!("failed to write {}", stamp_path.display()))?;
        }
        packages.push(package);
    }
    let fixtures = checkout.root.join(FIXTURES);
    let entries =
        fs::read_dir(&fixtures).with_context(|| format!("failed to read {}", fixtures.display()))?;
    let mut fixtures: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path().join("package.json")).collect();
    fixtures.retain(|path| path.exists());
    fixtures.sort();
    packages.extend(fixtures);
    Ok(packages)
}
