//! bpf-linker: the one on PATH if it suits this Rust, or else one that is built once, in the cache.
//!
//! It reads what rustc's LLVM writes, and so has to have that LLVM or a newer one. rustc comes with its LLVM as a
//! shared library, but not with its headers or `llvm-config`; bpf-linker does without both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};
use hooklab::cargo as cargo_run;
use hooklab::lab::Lab;
use hooklab::options::SetupOptions;
use hooklab::setup::{cargo, find_program, hold};
use hooklab_vm::event::{Event, Observer};
use hooklab_vm::host::digest::{hex, sha256};
use xshell::{Shell, cmd};

use super::{TARGET, Toolchain};

/// The version that is built.
const VERSION: &str = "0.13.0";

/// What a linker on PATH must be able to read: ordinary code, with the attributes that only its own LLVM knows.
const PROBE: &str =
    "pub fn f(x: &str, y: &mut Vec<u8>) -> Option<u8> { y.extend(x.bytes()); y.iter().copied().max() }";

/// The linker on PATH, if it suits the toolchain. Whether it does is found out once.
pub(super) fn installed(lab: &Lab, toolchain: &Toolchain) -> Result<Option<PathBuf>> {
    let Some(linker) = find_program("bpf-linker") else { return Ok(None) };
    let modified = linker.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let verdict = format!("{} {} {modified:?}", llvm(toolchain)?.display(), linker.display());
    let directory = lab.cache.join("bpf-linker");
    let known = directory.join(format!("verdict-{}", hash(&verdict)));
    let suits = match fs::read_to_string(&known) {
        Ok(verdict) => verdict == "suits",
        Err(_) => {
            let suits = suits(&linker, toolchain)?;
            fs::create_dir_all(&directory)
                .with_context(|| format!("failed to make {}", directory.display()))?;
            fs::write(&known, if suits { "suits" } else { "does not" })?;
            suits
        }
    };
    Ok(suits.then_some(linker))
}

/// Whether a linker can read what the toolchain's LLVM writes.
fn suits(linker: &Path, toolchain: &Toolchain) -> Result<bool> {
    let directory = tempfile::tempdir().context("failed to make a temporary directory")?;
    let shell = Shell::new()?;
    shell.change_dir(directory.path());
    shell.write_file("probe.rs", PROBE)?;
    let rustc = toolchain.rustc();
    cmd!(shell, "{rustc} -O --crate-type lib --emit llvm-bc -o probe.bc probe.rs").quiet().run()?;
    let link = cmd!(shell, "{linker} --btf --target {TARGET} -o probe.o probe.bc");
    Ok(link.quiet().ignore_stdout().ignore_stderr().run().is_ok())
}

/// Builds the linker unless it is there.
pub(super) fn ensure(
    lab: &Lab,
    toolchain: &Toolchain,
    options: &SetupOptions,
    observer: &dyn Observer,
) -> Result<PathBuf> {
    let llvm = llvm(toolchain)?;
    let parent = lab.cache.join("bpf-linker");
    let root = parent.join(format!("{VERSION}-{}", hash(&llvm.display().to_string())));
    let linker = root.join("bin/bpf-linker");
    // Cargo puts a program in place only once it is whole.
    if linker.exists() {
        return Ok(linker);
    }
    if options.no_install {
        bail!(
            "a bpf-linker that suits this Rust is missing; `cargo xtask setup` builds one in {}, or install one with: \
             cargo install bpf-linker",
            root.display()
        );
    }
    let _lock = hold(lab, &parent, observer)?;
    if linker.exists() {
        return Ok(linker);
    }
    let prefix = root.join("llvm");
    link_llvm(&llvm, &prefix.join("lib"))?;
    build(lab, toolchain, &root, &prefix, observer)
        .with_context(|| format!("failed to build bpf-linker {VERSION}"))?;
    Ok(linker)
}

fn hash(text: &str) -> String {
    hex(&sha256([text])[..6])
}

/// The LLVM that rustc comes with; its name tells the version.
fn llvm(toolchain: &Toolchain) -> Result<PathBuf> {
    let directory = toolchain.sysroot.join("lib");
    let entries =
        fs::read_dir(&directory).with_context(|| format!("failed to read {}", directory.display()))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libLLVM.so."))
    };
    paths.find(named).with_context(|| {
        format!(
            "failed to find rustc's LLVM in {}: install a bpf-linker that suits this Rust",
            directory.display()
        )
    })
}

/// A directory as an installed LLVM has it, with the library under the name to link by and under the one to load by.
fn link_llvm(llvm: &Path, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("failed to make {}", directory.display()))?;
    for name in [Path::new("libLLVM.so").as_os_str(), llvm.file_name().unwrap_or_default()] {
        let link = directory.join(name);
        // A killed run's.
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(llvm, &link)
            .with_context(|| format!("failed to link {}", link.display()))?;
    }
    Ok(())
}

fn build(
    lab: &Lab,
    toolchain: &Toolchain,
    root: &Path,
    prefix: &Path,
    observer: &dyn Observer,
) -> Result<()> {
    let version = toolchain.says("LLVM version")?;
    let major = version.split('.').next().unwrap_or_default();
    let step = |of: &str| Event::Step(format!("building bpf-linker {VERSION} (once, about a minute){of}"));
    observer.notify(step(""));
    // What a killed run has built already serves the next one.
    let target = root.join("build");
    let mut command = Command::new(cargo());
    command
        .args(["install", "--quiet", "--locked", cargo_run::MESSAGES, "--no-default-features"])
        .args(["--features", &format!("llvm-{major}"), &format!("bpf-linker@{VERSION}")])
        .args([Path::new("--root"), root, Path::new("--target-dir"), &target])
        .current_dir("/")
        .env("LLVM_PREFIX", prefix)
        // It is LLVM that works; optimising the rest takes twice the time.
        .envs(
            [("OPT_LEVEL", "0"), ("DEBUG", "0"), ("STRIP", "symbols")]
                .map(|(name, value)| (format!("CARGO_PROFILE_RELEASE_{name}"), value)),
        );
    cargo_run::run(lab, command, |artifact| observer.notify(step(&format!(": {}", artifact.target.name))))?;
    let _ = fs::remove_dir_all(target);
    Ok(())
}
