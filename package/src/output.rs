//! The files: the object, its description, and both in one.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::{Error, ExportType, Skeleton};

/// The content of `NAME.skel.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Meta {
    /// The description.
    pub bpf_skel: Skeleton,
    /// The version of `ecc` whose format this is.
    pub eunomia_version: &'static str,
    /// Structs that readers of events need; omitted without an event header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export_types: Option<Vec<ExportType>>,
}

/// The content of `package.json`.
#[derive(Serialize)]
struct Package<'a> {
    bpf_object: String,
    bpf_object_size: usize,
    meta: &'a Meta,
}

/// Writes `NAME.bpf.o`, `NAME.skel.json` and `package.json`, and returns their paths. All are complete before the first
/// is renamed, so an error leaves existing files unchanged.
///
/// # Errors
///
/// [`Error::Write`].
pub fn write(directory: &Path, name: &str, object: &[u8], meta: &Meta) -> Result<Vec<PathBuf>, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    let skeleton = serde_json::to_vec(meta).map_err(|error| failed(directory)(error.into()))?;
    let package =
        Package { bpf_object: STANDARD.encode(deflate(object)), bpf_object_size: object.len(), meta };
    let package = serde_json::to_vec(&package).map_err(|error| failed(directory)(error.into()))?;
    let files = [
        (format!("{name}.bpf.o"), object),
        (format!("{name}.skel.json"), &skeleton),
        ("package.json".to_owned(), &package),
    ];
    let mut written = Vec::new();
    for (file, bytes) in files {
        let path = directory.join(file);
        written.push((write_temporary(directory, bytes).map_err(failed(&path))?, path));
    }
    let place = |(file, path): (NamedTempFile, PathBuf)| match file.persist(&path) {
        Ok(_) => Ok(path),
        Err(error) => Err(failed(&path)(error.error)),
    };
    written.into_iter().map(place).collect()
}

/// Writes a temporary file in the directory.
fn write_temporary(directory: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut file =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o644)).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Compresses into a zlib stream, as `ecc` does.
fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .unwrap_or_else(|_| unreachable!("memory does not fail"))
}
