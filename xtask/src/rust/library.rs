//! The source of Rust's standard library: rustup's component `rust-src`, or Debian's package of the same version.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hooklab::kernels;
use hooklab::lab::Lab;
use hooklab::options::{KernelOptions, SetupOptions};
use hooklab::setup::{find_program, hold, run};
use hooklab_vm::event::{Event, Observer};
use hooklab_vm::kernel::{self, Package};
use xshell::{Shell, cmd};

use super::Toolchain;

/// What tells that the source is there; cargo looks for it as well.
const MARK: &str = "Cargo.lock";

/// How long rustup may try, in seconds: the component has 3 MiB.
const PATIENCE: &str = "60";

/// Where a toolchain has it.
pub(super) fn directory(toolchain: &Toolchain) -> PathBuf {
    toolchain.sysroot.join("lib/rustlib/src/rust/library")
}

/// The one that a toolchain has.
pub(super) fn of(toolchain: &Toolchain) -> Option<PathBuf> {
    Some(directory(toolchain)).filter(|directory| directory.join(MARK).exists())
}

/// The one that was unpacked here.
pub(super) fn unpacked(lab: &Lab) -> Option<PathBuf> {
    let package = pinned(lab).ok()?;
    Some(place(lab, &package)).filter(|directory| directory.join(MARK).exists())
}

fn pinned(lab: &Lab) -> Result<Package> {
    Ok(Package::read(&lab.project.root.join("ebpf/rust-src.toml"))?)
}

fn place(lab: &Lab, package: &Package) -> PathBuf {
    lab.cache.join("rust-src").join(&package.version)
}

/// Gets it: by rustup, or else from Debian.
pub(super) fn get(
    lab: &Lab,
    toolchain: &Toolchain,
    options: &SetupOptions,
    observer: &dyn Observer,
) -> Result<PathBuf> {
    if options.no_install {
        bail!("the source of Rust's `core` is missing; run: rustup component add rust-src");
    }
    let by_rustup = match add_component(lab, observer) {
        Ok(()) => match of(toolchain) {
            Some(directory) => return Ok(directory),
            None => anyhow::anyhow!(
                "rustup added rust-src, but to another toolchain than {}",
                toolchain.sysroot.display()
            ),
        },
        Err(error) => error,
    };
    lab.check_interrupt()?;
    let from_debian = match from_debian(lab, toolchain, observer) {
        Ok(directory) => return Ok(directory),
        Err(error) => error,
    };
    lab.check_interrupt()?;
    bail!(
        "rust-src could be installed neither through rustup nor from Debian\n  rustup: {by_rustup:#}\n  Debian: {from_debian:#}"
    )
}

fn add_component(lab: &Lab, observer: &dyn Observer) -> Result<()> {
    if find_program("rustup").is_none() {
        bail!("there is no rustup");
    }
    observer.notify(Event::Step("adding rustup's component rust-src".into()));
    let shell = Shell::new()?;
    shell.change_dir(&lab.project.root);
    run(cmd!(shell, "timeout {PATIENCE} rustup --quiet component add rust-src").env("RUST_BACKTRACE", "0"))
}

/// Unpacks Debian's package into the cache. It is put in place once it is whole.
fn from_debian(lab: &Lab, toolchain: &Toolchain, observer: &dyn Observer) -> Result<PathBuf> {
    let package = pinned(lab)?;
    let (release, place) = (toolchain.says("release")?, place(lab, &package));
    if !package.version.starts_with(&format!("{release}+")) {
        bail!("the package that the lab knows is of version {}, and Rust here is {release}", package.version);
    }
    let parent = place.parent().unwrap_or(Path::new("."));
    let _lock = hold(lab, parent, observer)?;
    if place.join(MARK).exists() {
        return Ok(place);
    }
    let new = parent.join("new");
    let _ = fs::remove_dir_all(new.join("library"));
    // The rest of the package is rustc itself, and crates that cargo fetches by itself.
    let prefix = format!("usr/src/rustc-{release}/");
    let wanted = |path: &str| {
        let path = path.strip_prefix(&prefix)?;
        (path.starts_with("library/") && !path.starts_with("library/vendor/")).then(|| path.into())
    };
    let opened = kernels::open(lab, &KernelOptions::default())?;
    let unpacked = opened.repository().unpack(&package, &new, wanted, observer);
    unpacked.map_err(kernel::Error::from).map_err(kernels::failed_to)?;
    let _ = fs::remove_dir_all(&place);
    fs::rename(new.join("library"), &place).with_context(|| format!("failed to make {}", place.display()))?;
    let _ = fs::remove_dir(new);
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_of_the_pinned_toolchain() {
        let root = crate::checkout::Checkout::find().unwrap().root;
        let package = Package::read(&root.join("ebpf/rust-src.toml")).unwrap();
        let toolchain = fs::read_to_string(root.join("rust-toolchain.toml")).unwrap();
        let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap();
        assert!(package.version.starts_with(&format!("{}+", channel.trim_matches('"'))), "{package:?}");
    }
}
