//! The eBPF objects: every C source, by clang, the same bytes whatever directory the checkout lies in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hooklab::lab::Lab;
use hooklab::{compile, setup};
use hooklab_vm::event::{Event, Observer};
use hooklab_vm::host::digest::{hex, sha256};
use xshell::{Shell, cmd};

use super::files;
use crate::checkout::Checkout;

/// Directories with C sources, below the checkout: the programs, and what the tests need besides.
const SOURCES: [&str; 2] = ["ebpf", "tests/programs"];

/// Builds the objects whose sources, headers, flags or compiler have changed.
pub(super) fn build(
    checkout: &Checkout,
    lab: &Lab,
    include: &Path,
    observer: &dyn Observer,
) -> Result<Vec<PathBuf>> {
    let directory = checkout.work().join("objects");
    fs::create_dir_all(&directory).with_context(|| format!("failed to make {}", directory.display()))?;
    let compiler = compile::compiler()?;
    let flags = [compile::flags(include), ["-Wall", "-Werror"].map(str::to_owned).to_vec()].concat();
    let headers = headers(checkout)?;
    let mut objects = Vec::new();
    for source in SOURCES
        .iter()
        .map(|directory| files(&checkout.root.join(directory), "c"))
        .collect::<Result<Vec<_>>>()?
        .concat()
    {
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let object = directory.join(format!("{name}.o"));
        let code =
            fs::read_to_string(&source).with_context(|| format!("failed to read {}", source.display()))?;
        let stamp = hex(&sha256([format!("{compiler}\n{flags:?}\n{headers}\n{code}")]));
        let stamp_path = directory.join(format!("{name}.stamp"));
        if !object.exists() || fs::read_to_string(&stamp_path).ok().as_deref() != Some(stamp.as_str()) {
            observer.notify(Event::Step(format!("compiling {name}")));
            compile(checkout, lab, &source, &object, &flags)?;
            fs::write(&stamp_path, stamp)
                .with_context(|| format!("failed to write {}", stamp_path.display()))?;
        }
        objects.push(object);
    }
    Ok(objects)
}

/// All of our own headers' text: a change in one makes every object anew.
fn headers(checkout: &Checkout) -> Result<String> {
    let paths = SOURCES
        .iter()
        .map(|directory| files(&checkout.root.join(directory), "h"))
        .collect::<Result<Vec<_>>>()?;
    paths.concat().iter().map(|path| Ok(fs::read_to_string(path)?)).collect()
}

fn compile(checkout: &Checkout, lab: &Lab, source: &Path, object: &Path, flags: &[String]) -> Result<()> {
    let relative = source.strip_prefix(&checkout.root).unwrap_or(source);
    // Aside and renamed: clang that is killed leaves no half of an object, and two runs at once are not in each
    // other's way.
    let aside = tempfile::NamedTempFile::new_in(object.parent().unwrap_or(Path::new(".")))?.into_temp_path();
    let shell = Shell::new()?;
    shell.change_dir(&checkout.root);
    let compiled = setup::run(cmd!(shell, "clang {flags...} -c {relative} -o {aside}"));
    lab.check_interrupt()?;
    compiled.with_context(|| format!("failed to compile {}", relative.display()))?;
    aside.persist(object).with_context(|| format!("failed to write {}", object.display()))
}
