//! Packages: objects with a description, as `ecc` makes them, for the tests and for anybody's program.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use hooklab_vm::event::{Event, Observer};
use sha2::{Digest, Sha256};
use xshell::{Shell, cmd};

use super::{binaries, objects};
use crate::lab::Lab;
use crate::setup;

/// Packages that `ecc` itself made, below the checkout.
const FIXTURES: &str = "tests/packages";
/// Objects that no package can be made of, and why the tests have them: there is no program in it.
const UNPACKABLE: [&str; 1] = ["no-program"];
/// What `ecc` appends to a program, so that the compiler does not forget a struct that only readers use.
const DUMMY: &str = "__eunomia_dummy_";

/// The program at fault, not the lab: clang or the packager has said why.
#[derive(Debug, thiserror::Error)]
#[error("failed to package {}: see above", .0.display())]
pub(crate) struct Refused(PathBuf);

/// Packs each object that has changed, and gives the packages, with those that `ecc` made.
pub(super) fn build(
    lab: &Lab,
    packager: &Path,
    objects: &[PathBuf],
    observer: &dyn Observer,
) -> Result<Vec<PathBuf>> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("failed to read {}", path.display()));
    let tool = Sha256::digest(read(packager)?);
    let mut packages = Vec::new();
    for object in objects {
        let name = object.file_name().unwrap_or_default().to_string_lossy().replace(".bpf.o", "");
        if UNPACKABLE.contains(&name.as_str()) {
            continue;
        }
        let folder = lab.scratch().join("packages").join(&name);
        let (package, stamp_path) = (folder.join("package.json"), folder.join("stamp"));
        let digest = Sha256::new().chain_update(tool).chain_update(read(object)?).finalize();
        let stamp: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        if !package.exists() || fs::read_to_string(&stamp_path).ok().as_deref() != Some(stamp.as_str()) {
            observer.notify(Event::Step(format!("packing {name}")));
            let shell = Shell::new()?;
            setup::run(cmd!(shell, "{packager} {object} --name {name} --output {folder}"))
                .with_context(|| format!("failed to pack {name}"))?;
            fs::write(&stamp_path, stamp)
                .with_context(|| format!("failed to write {}", stamp_path.display()))?;
        }
        packages.push(package);
    }
    let fixtures = lab.root.join(FIXTURES);
    let entries =
        fs::read_dir(&fixtures).with_context(|| format!("failed to read {}", fixtures.display()))?;
    let mut fixtures: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path().join("package.json")).collect();
    fixtures.retain(|path| path.exists());
    fixtures.sort();
    packages.extend(fixtures);
    Ok(packages)
}

/// Compiles a source and packs the object; writes nothing unless all goes well.
///
/// Structs of the header are described for readers of events. The paths of what was written are printed.
///
/// # Errors
///
/// [`Refused`] if the source is at fault.
pub(crate) fn package(
    lab: &Lab,
    source: &Path,
    header: Option<&Path>,
    include: &[PathBuf],
    output: &Path,
    observer: &dyn Observer,
) -> Result<()> {
    let packager = binaries::build_packager(lab, observer)?;
    lab.check_interrupt()?;
    let file = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = file.split('.').next().unwrap_or_default();
    let structs = header.map_or(Ok(Vec::new()), exported_structs)?;
    let mut flags = objects::foreign_flags(lab, &packager.libbpf_sys)?;
    flags.extend(include.iter().map(|folder| format!("-I{}", folder.display())));

    observer.notify(Event::Step(format!("compiling {file}")));
    let object = tempfile::Builder::new().suffix(".bpf.o").tempfile()?.into_temp_path();
    let refused = || Refused(source.to_owned());
    let folder = source.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !compile(folder, &file, &structs, &flags, &object)? {
        lab.check_interrupt()?;
        return Err(refused().into());
    }
    observer.notify(Event::Step(format!("packing {name}")));
    let mut packer = Command::new(&packager.binary);
    packer.arg(&object).args(["--name", name]).arg("--output").arg(output);
    packer.args(structs.iter().flat_map(|name| ["--export", name]));
    let packed = packer.status().context("failed to run the packager")?;
    lab.check_interrupt()?;
    if packed.success() { Ok(()) } else { Err(refused().into()) }
}

/// Runs clang in the source's folder, so that what it notes of paths does not depend on where that is.
fn compile(folder: &Path, file: &str, structs: &[String], flags: &[String], object: &Path) -> Result<bool> {
    let mut clang = Command::new("clang");
    clang.current_dir(folder).args(flags).arg("-I.").arg("-c").arg("-o").arg(object);
    if structs.is_empty() {
        clang.arg(Path::new(".").join(file)).stdin(Stdio::null());
    } else {
        clang.args(["-x", "c", "-"]).stdin(Stdio::piped());
    }
    let mut child = clang.spawn().context("failed to run clang")?;
    if let Some(mut input) = child.stdin.take() {
        let dummies = structs.iter().map(|name| {
            format!("const volatile struct {name} *{DUMMY}{name}_ptr __attribute__((unused));\n")
        });
        let text = format!("#include \"{file}\"\n{}", dummies.collect::<String>());
        // clang that has gone says why by itself.
        let _ = input.write_all(text.as_bytes());
    }
    Ok(child.wait().context("failed to run clang")?.success())
}

/// The names of the structs that a header defines, found as `ecc` finds them: by `struct NAME {`.
fn exported_structs(header: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(header).with_context(|| format!("failed to read {}", header.display()))?;
    let mut names = Vec::new();
    for part in text.split("struct").skip(1) {
        let Some((name, _)) = part.split_once('{') else { continue };
        let word = name.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.starts_with(char::is_whitespace) && !word.is_empty() && word.chars().all(plain) {
            names.push(word.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_are_found_in_a_header() {
        let header = tempfile::NamedTempFile::new().unwrap();
        let text = "struct event {\n int x; struct inner { int y; } z; };\nstruct other;\n\
                    typedef struct  exec_t{ int a; } exec;\nstruct { int b; } anonymous;\nint astruct;\n";
        fs::write(header.path(), text).unwrap();
        assert_eq!(exported_structs(header.path()).unwrap(), ["event", "inner", "exec_t"]);
    }
}
