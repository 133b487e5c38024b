//! Compiles eBPF programs in C with clang, and packs them as `ecc` does.

pub mod vmlinux;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use hooklab_vm::event::{Event, Observer};
use hooklab_vm::host::digest::xxh3;
use xshell::{Shell, cmd};

use crate::exit::Refused;
use crate::lab::Lab;
use crate::options::KernelOptions;
use crate::setup;

/// Oldest clang whose objects carry what the loaders need.
const OLDEST_CLANG: u32 = 14;
/// What `ecc` appends to a program, so that the compiler does not forget a struct that only readers use.
const DUMMY: &str = "__eunomia_dummy_";

/// The directory with the headers of libbpf and of the kernel's interface, as `packager` brings them: what `<bpf/...>`
/// means does not depend on the host.
///
/// # Errors
/// The packager cannot be run, or the directory cannot be written.
pub fn headers(lab: &Lab, packager: &Path) -> Result<PathBuf> {
    let parent = lab.work.join("headers");
    let bytes = fs::read(packager).with_context(|| format!("failed to read {}", packager.display()))?;
    let include = parent.join(format!("{:032x}", xxh3(&bytes)));
    if include.is_dir() {
        return Ok(include);
    }
    fs::create_dir_all(&parent).with_context(|| format!("failed to make {}", parent.display()))?;
    let aside = tempfile::tempdir_in(&parent).context("failed to make a temporary directory")?;
    let (shell, path) = (Shell::new()?, aside.path());
    setup::run(cmd!(shell, "{packager} --headers {path}")).context("failed to write the headers")?;
    // Another run may have been faster; these are the same headers.
    if fs::rename(path, &include).is_err() && !include.is_dir() {
        bail!("failed to write {}", include.display());
    }
    Ok(include)
}

/// What the compiler calls itself; an error where it is too old.
///
/// # Errors
/// clang is missing or too old.
pub fn compiler() -> Result<String> {
    let version = setup::output("clang", &["-dumpversion"]).context("failed to run clang")?;
    let major: u32 = version.split('.').next().and_then(|word| word.parse().ok()).unwrap_or_default();
    if major < OLDEST_CLANG {
        bail!("clang {version} is too old: the lab needs {OLDEST_CLANG} or newer");
    }
    Ok(version)
}

/// clang's flags. Directories are given stand-ins, since debug information and BTF would carry their names.
pub fn flags(include: &Path) -> Vec<String> {
    let words = ["-g", "-O2", "-target", "bpf", "-fdebug-compilation-dir=."];
    let mut flags: Vec<String> = words.map(str::to_owned).to_vec();
    flags.push(format!("-ffile-prefix-map={}=include", include.display()));
    flags.push("-ffile-prefix-map=/usr/include=usr/include".into());
    flags.extend(["-I".into(), include.display().to_string()]);
    // Where Debian has <asm/types.h>; after the others, so that it serves nothing they have.
    flags.extend(["-idirafter".into(), "/usr/include/x86_64-linux-gnu".into()]);
    flags
}

/// A program in C that is to be compiled.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The file, as an absolute path: clang runs in its directory.
    pub path: &'a Path,
    /// The header with the structs that it sends to readers of events.
    pub header: Option<&'a Path>,
    /// Directories with more headers, as absolute paths.
    pub include: &'a [PathBuf],
    /// Where the kernel comes from whose types `vmlinux.h` has.
    pub kernels: &'a KernelOptions,
}

impl<'a> Source<'a> {
    /// What the file's name has before its first dot.
    pub fn name(&self) -> String {
        let file = self.file();
        file.split('.').next().unwrap_or_default().to_owned()
    }

    fn file(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn directory(&self) -> &'a Path {
        self.path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn refused(&self, doing: &'static str) -> Refused {
        Refused { doing, source_file: self.path.to_owned() }
    }
}

/// Compiles a source and packs the object; writes nothing unless all goes well.
///
/// Structs of the header are described for readers of events. The paths of what was written are printed.
///
/// # Errors
///
/// [`Refused`] if the source is at fault.
pub fn package(lab: &Lab, source: &Source<'_>, output: &Path, observer: &dyn Observer) -> Result<Vec<u8>> {
    let packager = lab.guest_half.packager(lab, observer)?;
    let structs = source.header.map_or(Ok(Vec::new()), exported_structs)?;
    let object = tempfile::Builder::new().suffix(".bpf.o").tempfile()?.into_temp_path();
    object_at(lab, source, &structs, &packager, &object, observer)?;
    let name = source.name();
    observer.notify(Event::Step(format!("packing {name}")));
    let mut packer = Command::new(&packager);
    packer.arg(&object).args(["--name", &name]).arg("--output").arg(output);
    packer.args(structs.iter().flat_map(|name| ["--export", name])).stderr(Stdio::inherit());
    let packed = packer.output().context("failed to run the packager")?;
    lab.check_interrupt()?;
    if packed.status.success() { Ok(packed.stdout) } else { Err(source.refused("package").into()) }
}

/// Compiles a source to an object.
///
/// # Errors
///
/// [`Refused`] if the source is at fault.
pub fn object(lab: &Lab, source: &Source<'_>, output: &Path, observer: &dyn Observer) -> Result<()> {
    let packager = lab.guest_half.packager(lab, observer)?;
    let structs = source.header.map_or(Ok(Vec::new()), exported_structs)?;
    object_at(lab, source, &structs, &packager, output, observer)
}

fn object_at(
    lab: &Lab,
    source: &Source<'_>,
    structs: &[String],
    packager: &Path,
    output: &Path,
    observer: &dyn Observer,
) -> Result<()> {
    lab.check_interrupt()?;
    compiler()?;
    let mut flags = flags(&headers(lab, packager)?);
    // Somebody else's program, as it is: dubious code is a warning, not an error.
    flags.extend(["-Wno-unknown-attributes", "-D__TARGET_ARCH_x86"].map(str::to_owned));
    flags.extend(source.include.iter().map(|directory| format!("-I{}", directory.display())));
    if vmlinux::is_missing(source.directory(), &source.file(), &flags)? {
        let directory = vmlinux::directory(lab, source.kernels, packager, observer)?;
        flags.push(format!("-ffile-prefix-map={}=include", directory.display()));
        flags.extend(["-isystem".into(), directory.display().to_string()]);
        // Since 7.0 the kernel itself is built with this: its structs embed others by their tags.
        flags.push("-fms-extensions".into());
    }
    observer.notify(Event::Step(format!("compiling {}", source.file())));
    if !compile(source.directory(), &source.file(), structs, &flags, output)? {
        lab.check_interrupt()?;
        return Err(source.refused("compile").into());
    }
    Ok(())
}

/// Runs clang in the source's directory, so that what it notes of paths does not depend on where that is.
fn compile(
    directory: &Path,
    file: &str,
    structs: &[String],
    flags: &[String],
    object: &Path,
) -> Result<bool> {
    let mut clang = Command::new("clang");
    clang.current_dir(directory).args(flags).arg("-I.").arg("-c").arg("-o").arg(object);
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

/// The header of the same name beside a source, if there is one: it has the structs that the program sends.
pub fn header_beside(source: &Path) -> Option<PathBuf> {
    let file = source.file_name()?.to_str()?;
    let header = source.with_file_name(format!("{}.h", file.split('.').next()?));
    header.is_file().then_some(header)
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
