//! The eBPF objects: every C source, by clang, the same bytes whatever folder the checkout lies in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hooklab_vm::event::{Event, Observer};
use sha2::{Digest, Sha256};
use xshell::{Shell, cmd};

use super::files;
use crate::lab::Lab;
use crate::setup;

/// Folders with C sources, below the checkout: the programs, and what the tests need besides.
const SOURCES: [&str; 2] = ["ebpf", "tests/programs"];

/// Oldest clang whose objects carry what the loaders need.
const OLDEST_CLANG: u32 = 14;

/// Builds the objects whose sources, headers, flags or compiler have changed.
pub(super) fn build(lab: &Lab, libbpf_sys: &Path, observer: &dyn Observer) -> Result<Vec<PathBuf>> {
    let folder = lab.scratch().join("objects");
    let include = lab.scratch().join("include");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    link_headers(libbpf_sys, &include)?;
    let compiler = compiler()?;
    let flags = [flags(libbpf_sys, &include), ["-Wall", "-Werror"].map(str::to_owned).to_vec()].concat();
    let headers = headers(lab)?;
    let mut objects = Vec::new();
    for source in
        SOURCES.iter().map(|folder| files(&lab.root.join(folder), "c")).collect::<Result<Vec<_>>>()?.concat()
    {
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let object = folder.join(format!("{name}.o"));
        let code =
            fs::read_to_string(&source).with_context(|| format!("failed to read {}", source.display()))?;
        let digest = Sha256::digest(format!("{compiler}\n{flags:?}\n{headers}\n{code}"));
        let stamp: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let stamp_path = folder.join(format!("{name}.stamp"));
        if !object.exists() || fs::read_to_string(&stamp_path).ok().as_deref() != Some(stamp.as_str()) {
            observer.notify(Event::Step(format!("compiling {name}")));
            compile(lab, &source, &object, &flags)?;
            fs::write(&stamp_path, stamp)
                .with_context(|| format!("failed to write {}", stamp_path.display()))?;
        }
        objects.push(object);
    }
    Ok(objects)
}

/// clang's flags for a program of somebody else's, as it stands: what is dubious in it is told, and no error.
pub(super) fn foreign_flags(lab: &Lab, libbpf_sys: &Path) -> Result<Vec<String>> {
    let include = lab.scratch().join("include");
    link_headers(libbpf_sys, &include)?;
    compiler()?;
    let own = ["-Wno-unknown-attributes", "-D__TARGET_ARCH_x86"].map(str::to_owned).to_vec();
    Ok([flags(libbpf_sys, &include), own].concat())
}

/// Makes `<bpf/...>` mean the headers of libbpf-sys, not those of the host.
fn link_headers(libbpf_sys: &Path, include: &Path) -> Result<()> {
    let (link, headers) = (include.join("bpf"), libbpf_sys.join("libbpf/src"));
    if fs::read_link(&link).ok().as_deref() != Some(headers.as_path()) {
        fs::create_dir_all(include)?;
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&headers, &link)
            .with_context(|| format!("failed to link {}", link.display()))?;
    }
    Ok(())
}

/// All of our own headers' text: a change in one makes every object anew.
fn headers(lab: &Lab) -> Result<String> {
    let paths =
        SOURCES.iter().map(|folder| files(&lab.root.join(folder), "h")).collect::<Result<Vec<_>>>()?;
    paths.concat().iter().map(|path| Ok(fs::read_to_string(path)?)).collect()
}

/// What the compiler calls itself; an error where it is too old.
fn compiler() -> Result<String> {
    let version = setup::output("clang", &["-dumpversion"]).context("failed to run clang")?;
    let major: u32 = version.split('.').next().and_then(|word| word.parse().ok()).unwrap_or_default();
    if major < OLDEST_CLANG {
        bail!("clang {version} is too old: the lab needs {OLDEST_CLANG} or newer");
    }
    Ok(version)
}

/// clang's flags. Folders are given stand-ins, since debug information and BTF would carry their names.
fn flags(libbpf_sys: &Path, include: &Path) -> Vec<String> {
    let words = ["-g", "-O2", "-target", "bpf", "-fdebug-compilation-dir=."];
    let mut flags: Vec<String> = words.map(str::to_owned).to_vec();
    flags.push(format!("-ffile-prefix-map={}=libbpf-sys", libbpf_sys.display()));
    flags.push(format!("-ffile-prefix-map={}=include", include.display()));
    flags.push("-ffile-prefix-map=/usr/include=usr/include".into());
    flags.extend(["-I".into(), include.display().to_string()]);
    flags.extend(["-I".into(), libbpf_sys.join("libbpf/include/uapi").display().to_string()]);
    // Where Debian has <asm/types.h>; after the others, so that it serves nothing they have.
    flags.extend(["-idirafter".into(), "/usr/include/x86_64-linux-gnu".into()]);
    flags
}

fn compile(lab: &Lab, source: &Path, object: &Path, flags: &[String]) -> Result<()> {
    let relative = source.strip_prefix(&lab.root).unwrap_or(source);
    // Aside and renamed: clang that is killed leaves no half of an object, and two runs at once are not in each
    // other's way.
    let aside = tempfile::NamedTempFile::new_in(object.parent().unwrap_or(Path::new(".")))?.into_temp_path();
    let shell = Shell::new()?;
    shell.change_dir(&lab.root);
    let compiled = setup::run(cmd!(shell, "clang {flags...} -c {relative} -o {aside}"));
    lab.check_interrupt()?;
    compiled.with_context(|| format!("failed to compile {}", relative.display()))?;
    aside.persist(object).with_context(|| format!("failed to write {}", object.display()))
}
