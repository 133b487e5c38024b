//! What eBPF programs in Rust need beside Rust: the source of `core`, which there is compiled for no eBPF target, and
//! a linker.

mod library;
mod linker;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use hooklab::lab::Lab;
use hooklab::options::SetupOptions;
use hooklab::setup::{cargo, output};
use hooklab_vm::event::Observer;

/// The eBPF target of little-endian machines.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// All that building an eBPF program in Rust takes.
#[derive(Debug)]
pub(crate) struct RustForBpf {
    toolchain: Toolchain,
    /// The source of the standard library, where the toolchain does not have it.
    library: Option<PathBuf>,
    linker: PathBuf,
}

/// An installed Rust.
#[derive(Debug)]
struct Toolchain {
    /// rustup's name of it; none for the one that runs us.
    name: Option<&'static str>,
    sysroot: PathBuf,
}

/// Finds what is needed, and gets what is missing.
pub(crate) fn ensure(lab: &Lab, options: &SetupOptions, observer: &dyn Observer) -> Result<RustForBpf> {
    find_or_get(lab, options, observer)
        .context("failed to set up what the program in Rust needs (with `--program c` the lab does without)")
}

fn find_or_get(lab: &Lab, options: &SetupOptions, observer: &dyn Observer) -> Result<RustForBpf> {
    let active = Toolchain::active()?;
    let have = library::of(&active).or_else(|| library::unpacked(lab));
    if have.is_none()
        && let Some(nightly) = Toolchain::nightly()
        && library::of(&nightly).is_some()
        && let Some(linker) = linker::installed(lab, &nightly)?
    {
        return Ok(RustForBpf { toolchain: nightly, library: None, linker });
    }
    let library = match have {
        Some(library) => library,
        None => library::get(lab, &active, options, observer)?,
    };
    lab.check_interrupt()?;
    let linker = match linker::installed(lab, &active)? {
        Some(linker) => linker,
        None => linker::ensure(lab, &active, options, observer)?,
    };
    let library = (library::of(&active).as_ref() != Some(&library)).then_some(library);
    // One place under two names would be built with twice.
    let linker = linker.canonicalize().with_context(|| format!("failed to find {}", linker.display()))?;
    Ok(RustForBpf { toolchain: active, library, linker })
}

impl Toolchain {
    /// The one that runs us.
    fn active() -> Result<Self> {
        // cargo names itself by its full path: asking rustc takes longer than all the rest.
        let ours = std::env::var_os("CARGO").map(PathBuf::from);
        let ours = ours.and_then(|cargo| Some(cargo.parent()?.parent()?.to_owned()));
        let sysroot = match ours.filter(|directory| directory.join("lib/rustlib").is_dir()) {
            Some(sysroot) => sysroot,
            None => output("rustc", &["--print", "sysroot"]).context("failed to run rustc")?.into(),
        };
        Ok(Self { name: None, sysroot })
    }

    /// rustup's nightly, if it is installed.
    fn nightly() -> Option<Self> {
        let name = "nightly";
        let rustc = output("rustup", &["which", "--toolchain", name, "rustc"])?;
        let sysroot = Path::new(&rustc).parent()?.parent()?.to_owned();
        Some(Self { name: Some(name), sysroot })
    }

    fn rustc(&self) -> String {
        self.sysroot.join("bin/rustc").display().to_string()
    }

    /// What rustc calls itself: `rustc -vV`, the value of a line.
    fn says(&self, what: &str) -> Result<String> {
        let said =
            output(&self.rustc(), &["-vV"]).with_context(|| format!("failed to run {}", self.rustc()))?;
        let value = said.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(": "));
        value
            .map(str::to_owned)
            .with_context(|| format!("failed to find {what:?} in what rustc says of itself"))
    }
}

impl RustForBpf {
    /// A cargo that builds for eBPF.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = match self.toolchain.name {
            Some(name) => {
                let mut command = Command::new("rustup");
                command.args(["run", name, "cargo"]);
                command
            }
            None => Command::new(cargo()),
        };
        // These would take the place of the crate's own configuration.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            command.env_remove(name);
        }
        // The pinned toolchain is a stable one, and building `core` is not stable yet.
        command.env("RUSTC_BOOTSTRAP", "1");
        command.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker);
        if let Some(library) = &self.library {
            // By this, cargo's own tests say where the source is.
            command.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
        }
        command
    }

    /// Where the source of the standard library is.
    pub(crate) fn library(&self) -> PathBuf {
        self.library.clone().unwrap_or_else(|| library::directory(&self.toolchain))
    }
}
