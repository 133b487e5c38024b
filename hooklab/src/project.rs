//! What holds where a command is called: the kernels' catalog and pins of the project there, or those that came with
//! the tool.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hooklab_vm::kernel::{CATALOG, Document, PINS};
use serde::Deserialize;

use crate::exit::UsageError;

/// The file with a project's settings.
const SETTINGS: &str = "hooklab.toml";
/// The file with a project's pins, beside it.
const LOCK: &str = "hooklab.lock";

/// Where the kernels' catalog and pins are.
#[derive(Debug, Clone)]
pub struct Project {
    /// The directory that the project's files are relative to.
    pub root: PathBuf,
    /// The kernels.
    pub catalog: Document,
    /// What they are pinned to.
    pub pins: Document,
}

/// The content of `hooklab.toml`, and of `[workspace.metadata.hooklab]` or `[package.metadata.hooklab]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// A catalog, in place of the one that came with the tool.
    kernels: Option<toml::Table>,
}

/// What of a `Cargo.toml` matters here.
#[derive(Debug, Deserialize)]
struct Manifest {
    workspace: Option<Table>,
    package: Option<Table>,
}

#[derive(Debug, Deserialize)]
struct Table {
    metadata: Option<Metadata>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    hooklab: Option<Settings>,
}

impl Project {
    /// Looks from `directory` upwards for `hooklab.toml`, `hooklab.lock` or a `Cargo.toml` that has settings; the
    /// nearest holds.
    ///
    /// # Errors
    /// A file cannot be read or understood.
    pub fn find(directory: &Path) -> Result<Self> {
        for directory in directory.ancestors() {
            let settings = read(directory)?;
            let lock = directory.join(LOCK);
            if settings.is_some() || lock.is_file() {
                return Self::new(directory, settings, lock);
            }
        }
        Self::new(directory, None, directory.join(LOCK))
    }

    fn new(root: &Path, settings: Option<(PathBuf, Settings)>, lock: PathBuf) -> Result<Self> {
        let catalog = match settings {
            Some((path, Settings { kernels: Some(kernels) })) => {
                let text = toml::to_string(&kernels).context("failed to read the kernels' catalog")?;
                Document::Text { path, text }
            }
            _ => Document::Text { path: "the catalog of hooklab".into(), text: CATALOG.to_owned() },
        };
        let pins = match lock.is_file() {
            true => Document::File(lock),
            false => Document::Text { path: lock, text: PINS.to_owned() },
        };
        Ok(Self { root: root.to_owned(), catalog, pins })
    }
}

/// The settings in this very directory, and the file that has them.
fn read(directory: &Path) -> Result<Option<(PathBuf, Settings)>> {
    let own = directory.join(SETTINGS);
    if let Some(settings) = parse::<Settings>(&own)? {
        return Ok(Some((own, settings)));
    }
    let manifest = directory.join("Cargo.toml");
    let Some(Manifest { workspace, package }) = parse(&manifest)? else { return Ok(None) };
    let settings = |table: Option<Table>| table?.metadata?.hooklab;
    Ok(settings(workspace).or_else(|| settings(package)).map(|settings| (manifest, settings)))
}

/// A TOML file, if it is there.
fn parse<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text)
            .map(Some)
            .map_err(|error| UsageError(format!("{} cannot be understood: {error}", path.display())).into()),
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOG: &str = "[kernels]\n[[kernels.series]]\nname = '6.6'\n[kernels.debian]\nflavours = ['cloud-amd64']\n\
                           main = ['trixie']\nsecurity = []\n";

    fn place(files: &[(&str, &str)]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("a/b")).unwrap();
        for (name, content) in files {
            fs::write(place.path().join(name), content).unwrap();
        }
        place
    }

    #[test]
    fn without_files_the_tool_s_own_catalog_and_pins_hold() {
        let place = place(&[("Cargo.toml", "[package]\nname = 'x'\n")]);
        let project = Project::find(&place.path().join("a/b")).unwrap();
        assert!(matches!(project.catalog, Document::Text { text, .. } if text == super::CATALOG));
        assert!(matches!(project.pins, Document::Text { text, .. } if text == PINS));
    }

    #[test]
    fn the_nearest_settings_hold_with_the_pins_beside_them() {
        let place =
            place(&[("hooklab.toml", CATALOG), ("hooklab.lock", "schema = 1\n"), ("a/Cargo.toml", "")]);
        let project = Project::find(&place.path().join("a/b")).unwrap();
        assert_eq!(project.pins, Document::File(place.path().join("hooklab.lock")));
        assert!(matches!(project.catalog, Document::Text { path, text }
            if path == place.path().join("hooklab.toml") && text.contains("6.6") && !text.contains("kernels")));
    }

    #[test]
    fn a_workspace_may_say_it_in_its_manifest() {
        let manifest = CATALOG.replace("kernels", "workspace.metadata.hooklab.kernels");
        let place = place(&[("Cargo.toml", &manifest)]);
        let project = Project::find(&place.path().join("a")).unwrap();
        assert!(matches!(project.catalog, Document::Text { text, .. } if text.contains("6.6")));
    }

    #[test]
    fn what_nobody_knows_is_refused_by_name() {
        let place = place(&[("hooklab.toml", "kernel = 1\n")]);
        let error = Project::find(place.path()).unwrap_err();
        assert!(error.is::<UsageError>());
        assert!(error.to_string().contains("hooklab.toml cannot be understood"), "{error}");
        assert!(error.to_string().contains("unknown field `kernel`"), "{error}");
    }
}
