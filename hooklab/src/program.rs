//! A program that the user names: compiled if need be, and looked at before a guest starts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hooklab_types::loader::LoaderKind;
use hooklab_vm::event::Observer;
use tempfile::TempDir;

use crate::compile;
use crate::exit::{BadProgram, UsageError};
use crate::explain::object;
use crate::lab::Lab;
use crate::options::KernelOptions;
use crate::setup::Purpose;

/// Largest object or package that is sent into a guest, in bytes: libbpf-tools' largest has a hundredth of it.
const LARGEST: u64 = 64 << 20;

/// What a file is, by its name; each with its absolute path.
#[derive(Debug)]
pub enum Kind {
    /// A program in C.
    Source(PathBuf),
    /// A package.
    Package(PathBuf),
    /// A compiled object.
    Object(PathBuf),
}

/// A program that can be sent into guests.
#[derive(Debug)]
pub struct Program {
    /// Its file's name.
    pub name: String,
    /// The object or package.
    pub path: PathBuf,
    /// Where it was made, if it was.
    _directory: Option<TempDir>,
}

/// Says what the file is.
///
/// # Errors
/// [`UsageError`] if there is no such file.
pub fn kind(path: &Path) -> Result<Kind> {
    if !path.is_file() {
        return Err(UsageError(format!("there is no file {}", path.display())).into());
    }
    let path = std::path::absolute(path).context("failed to find the program")?;
    name(&path)?;
    Ok(match path.extension().and_then(|extension| extension.to_str()) {
        Some("c") => Kind::Source(path),
        Some("json") => Kind::Package(path),
        _ => Kind::Object(path),
    })
}

fn name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    Ok(name.ok_or_else(|| UsageError("the program's name is not valid UTF-8".into()))?.to_owned())
}

impl Kind {
    /// What loads it where nothing is said of that.
    pub fn loader(&self) -> LoaderKind {
        match self {
            Self::Package(_) => LoaderKind::Eunomia,
            Self::Source(_) | Self::Object(_) => LoaderKind::Libbpf,
        }
    }

    /// What it takes to run it.
    pub fn purposes(&self) -> &'static [Purpose] {
        match self {
            Self::Source(_) => &[Purpose::Run, Purpose::Compile],
            Self::Package(_) | Self::Object(_) => &[Purpose::Run],
        }
    }

    /// Compiles a source, and packs it for loaders of packages; looks at an object.
    ///
    /// # Errors
    /// The source does not compile, or no kernel could load the object.
    pub fn prepare(
        self,
        lab: &Lab,
        loader: LoaderKind,
        include: &[PathBuf],
        kernels: &KernelOptions,
        observer: &dyn Observer,
    ) -> Result<Program> {
        let path = match self {
            Self::Source(path) => return build(lab, &path, loader, include, kernels, observer),
            Self::Package(path) => {
                check_size(&path)?;
                path
            }
            Self::Object(path) => {
                check(&path)?;
                path
            }
        };
        Ok(Program { name: name(&path)?, path, _directory: None })
    }
}

fn build(
    lab: &Lab,
    path: &Path,
    loader: LoaderKind,
    include: &[PathBuf],
    kernels: &KernelOptions,
    observer: &dyn Observer,
) -> Result<Program> {
    let include = include.iter().map(std::path::absolute).collect::<Result<Vec<PathBuf>, _>>();
    let include = include.context("failed to find a directory")?;
    let header = compile::header_beside(path);
    let source = compile::Source { path, header: header.as_deref(), include: &include, kernels };
    let directory = tempfile::tempdir().context("failed to make a temporary directory")?;
    let name = if loader.takes_packages() {
        compile::package(lab, &source, directory.path(), observer)?;
        "package.json".to_owned()
    } else {
        let name = format!("{}.bpf.o", source.name());
        compile::object(lab, &source, &directory.path().join(&name), observer)?;
        name
    };
    Ok(Program { path: directory.path().join(&name), name, _directory: Some(directory) })
}

/// Refuses what no kernel could load.
fn check(path: &Path) -> Result<()> {
    check_size(path)?;
    let bytes = fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
    let programs = object::programs(&bytes);
    programs.map(drop).map_err(|why| BadProgram { path: path.to_owned(), why }.into())
}

fn check_size(path: &Path) -> Result<()> {
    let bytes = fs::metadata(path).with_context(|| format!("failed to read {}", path.display()))?.len();
    if bytes > LARGEST {
        let why = format!("it has {} MiB, and {} are the most", bytes >> 20, LARGEST >> 20);
        return Err(BadProgram { path: path.to_owned(), why }.into());
    }
    Ok(())
}
