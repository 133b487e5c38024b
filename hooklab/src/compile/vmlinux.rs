//! `vmlinux.h` for programs that include it and bring none: the types of the catalog's newest kernel.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use hooklab_vm::event::{Event, Observer};
use hooklab_vm::host::digest::xxh3;
use hooklab_vm::kernel::{self, Kernel, Selector, Source};
use xshell::{Shell, cmd};

use crate::kernels::{self, failed_to};
use crate::lab::Lab;
use crate::options::KernelOptions;
use crate::setup;

/// The header.
const NAME: &str = "vmlinux.h";

/// Types of the running kernel, if it has them.
const RUNNING: &str = "/sys/kernel/btf/vmlinux";

/// Whether a source, or a header of its, includes `vmlinux.h`, and none is found in the directories of these flags.
///
/// # Errors
/// clang cannot be run.
pub fn is_missing(directory: &Path, file: &str, flags: &[String]) -> Result<bool> {
    let mut clang = Command::new("clang");
    // Headers that are not found are listed as they are included.
    clang.current_dir(directory).args(flags).args(["-I.", "-M", "-MG"]).arg(Path::new(".").join(file));
    // A source in which more is wrong is compiled all the same, which says what.
    let listed = clang.stdin(Stdio::null()).stderr(Stdio::null()).output().context("failed to run clang")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    Ok(listed.split_whitespace().any(|path| path == NAME) && !directory.join(NAME).exists())
}

/// A directory with the header; made when it is first asked for.
///
/// # Errors
/// There is no kernel with types, or the header cannot be written.
pub fn directory(
    lab: &Lab,
    options: &KernelOptions,
    packager: &Path,
    observer: &dyn Observer,
) -> Result<PathBuf> {
    let kernel = match newest(lab, options, observer) {
        Ok(kernel) => kernel,
        Err(error) => {
            lab.check_interrupt()?;
            let Ok(types) = fs::read(RUNNING) else {
                return Err(error.context(
                    "failed to make vmlinux.h: no kernel with BTF is at hand; bring the header with -I",
                ));
            };
            observer.notify(Event::Note(format!(
                "{NAME} has the types of the running kernel, since those of the newest are not available: {error:#}"
            )));
            return write(lab, packager, &format!("running-{:032x}", xxh3(&types)), || Ok(types), observer);
        }
    };
    let Source::Image { image, .. } = &kernel.source else { bail!("failed to find a kernel's image") };
    write(lab, packager, &kernel.id, || Ok(kernel::btf(image)?), observer)
}

/// The newest kernel of the catalog, fetched if need be.
fn newest(lab: &Lab, options: &KernelOptions, observer: &dyn Observer) -> Result<Kernel> {
    let kernels = kernels::open(lab, options)?;
    let newest: Selector = "newest".parse().context("failed to name the newest kernel")?;
    let spec = kernels.select(&newest).map_err(failed_to)?.pop().context("failed to find a kernel")?;
    kernels.obtain(&spec, observer).map_err(failed_to)
}

/// Has the packager write the header of a kernel, once.
fn write(
    lab: &Lab,
    packager: &Path,
    kernel: &str,
    types: impl FnOnce() -> Result<Vec<u8>>,
    observer: &dyn Observer,
) -> Result<PathBuf> {
    let parent = lab.work.join("vmlinux");
    let program = fs::read(packager).with_context(|| format!("failed to read {}", packager.display()))?;
    let directory = parent.join(format!("{kernel}-{:032x}", xxh3(&program)));
    if directory.join(NAME).is_file() {
        return Ok(directory);
    }
    observer.notify(Event::Step(format!("writing {NAME}")));
    fs::create_dir_all(&parent).with_context(|| format!("failed to make {}", parent.display()))?;
    let aside = tempfile::tempdir_in(&parent).context("failed to make a temporary directory")?;
    let mut btf = tempfile::NamedTempFile::new_in(&parent).context("failed to make a temporary file")?;
    btf.write_all(&types()?).context("failed to write a kernel's BTF")?;
    let (shell, path, btf) = (Shell::new()?, aside.path(), btf.path());
    setup::run(cmd!(shell, "{packager} --vmlinux {btf} --output {path}"))
        .context("failed to write vmlinux.h")?;
    // Another run may have been faster; this is the same header.
    if fs::rename(path, &directory).is_err() && !directory.is_dir() {
        bail!("failed to write {}", directory.display());
    }
    Ok(directory)
}
