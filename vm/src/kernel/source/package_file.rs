//! Kernels in package files: a `.deb` of the host, with its modules in it or in a sibling beside it.

use std::fs;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::contents::{self, release_of};
use super::{KernelSource, Known, Obtained};
use crate::arch;
use crate::debian;
use crate::event::{Event, Observer};
use crate::host::{FileError, digest};
use crate::kernel::error::{Error, PackageError};
use crate::kernel::image::{self, Module};
use crate::kernel::parts::Parts;
use crate::kernel::spec::Spec;
use crate::kernel::stored::{Filling, Store, Stored};
use crate::kernel::types::{Kernel, Source};

/// Most bytes of an image or a config: several times what any kernel has.
const LARGEST: u64 = 256 << 20;

/// Whether a path names a package.
pub(super) fn is_package(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "deb")
}

/// Package files, unpacked into the cache.
pub(super) struct PackageFile<'a> {
    path: &'a Path,
    store: Store,
    cancel: &'a AtomicBool,
}

impl<'a> PackageFile<'a> {
    /// The package at `path`.
    pub(super) fn new(path: &'a Path, parts: &'a Parts) -> Self {
        Self { path, store: parts.module_store(), cancel: &parts.options.cancel }
    }

    /// Changes with the package's content.
    fn key(&self) -> Result<String, Error> {
        let digest = digest::sha256_of_file(self.path).map_err(FileError::of("read", self.path))?;
        Ok(format!("deb-{}", &digest[..24]))
    }

    fn stored(&self, observer: &dyn Observer) -> Result<Stored, Error> {
        let key = self.key()?;
        if let Some(stored) = self.store.get(&key) {
            return Ok(stored);
        }
        let work = self.store.begin(&key, self.cancel, || {})?;
        if let Some(stored) = self.store.get(&key) {
            return Ok(stored);
        }
        observer.notify(Event::Step(format!("unpacking {}", self.path.display())));
        let mut filling = work.start()?;
        let release = self.image_and_config(&mut filling)?;
        let modules = self.modules(&release, &mut filling)?;
        filling.modules(&modules)?;
        filling.finish(&release, None)
    }

    /// Keeps image and config; gives the release that the image's path names.
    fn image_and_config(&self, filling: &mut Filling) -> Result<String, Error> {
        let mut image = None;
        debian::visit(self.path, self.cancel, |path, content| {
            if let Some(release) = release_of(path, "vmlinuz").filter(|_| image.is_none()) {
                image = Some((filling.image(self.bounded(path, content)?)?, release.to_owned()));
            } else if release_of(path, "config").is_some() && !filling.has_config() {
                filling.config(self.bounded(path, content)?)?;
            }
            let done = image.is_some() && filling.has_config();
            Ok::<_, Error>(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        let (image, release) = image.ok_or_else(|| self.problem(PackageError::NoImage))?;
        match image::release(&image, &arch::GUEST)? {
            Some(found) if found != release => {
                Err(Error::AnotherRelease { package: self.path.to_owned(), found, expected: release })
            }
            _ => Ok(release),
        }
    }

    /// A file's content, read whole, as long as no kernel's file is longer.
    fn bounded(&self, path: &str, content: &mut dyn Read) -> Result<std::io::Cursor<Vec<u8>>, Error> {
        let mut bytes = Vec::new();
        content.take(LARGEST + 1).read_to_end(&mut bytes).map_err(FileError::of("read", self.path))?;
        match bytes.len() as u64 {
            0..=LARGEST => Ok(std::io::Cursor::new(bytes)),
            _ => Err(self.problem(PackageError::TooLong { file: path.to_owned(), limit_mib: LARGEST >> 20 })),
        }
    }

    /// The modules that a guest needs, from the package or a sibling.
    fn modules(&self, release: &str, filling: &mut Filling) -> Result<Vec<Module>, Error> {
        let siblings = self.siblings(release);
        let Some(config) = self.config(release, &siblings, filling)? else {
            return Err(self.problem(PackageError::NoConfig { release: release.to_owned() }));
        };
        let text = fs::read_to_string(&config).map_err(FileError::of("read", &config))?;
        let wanted = image::needed_modules(&text, release)?;
        let place = format!("{} or a package of its modules beside it", self.path.display());
        image::in_load_order(&wanted, release, &place, |names| {
            let mut found = Vec::new();
            for deb in [self.path.to_owned()].iter().chain(&siblings) {
                let is_missing = |name: &&String| !found.iter().any(|module: &Module| module.name == **name);
                let missing: Vec<String> = names.iter().filter(is_missing).cloned().collect();
                if !missing.is_empty() {
                    found.extend(contents::modules(deb, &missing, self.cancel)?);
                }
            }
            Ok(found)
        })
    }

    /// Where the config is kept; taken from a sibling if the image's package has none, as with Ubuntu's pair.
    fn config(
        &self,
        release: &str,
        siblings: &[PathBuf],
        filling: &mut Filling,
    ) -> Result<Option<PathBuf>, Error> {
        for deb in siblings {
            if filling.has_config() {
                break;
            }
            debian::visit(deb, self.cancel, |path, content| {
                if release_of(path, "config") != Some(release) {
                    return Ok::<_, Error>(ControlFlow::Continue(()));
                }
                filling.config(self.bounded(path, content)?)?;
                Ok(ControlFlow::Break(()))
            })?;
        }
        Ok(filling.config_path())
    }

    /// Packages beside this one that name the same release, those of modules first.
    fn siblings(&self, release: &str) -> Vec<PathBuf> {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let Ok(entries) = fs::read_dir(directory.unwrap_or(Path::new("."))) else { return Vec::new() };
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut siblings: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        siblings
            .retain(|path| is_package(path) && name(path) != name(self.path) && name(path).contains(release));
        siblings.sort_by_key(|path| (!name(path).starts_with("linux-modules"), name(path)));
        siblings
    }

    fn problem(&self, source: PackageError) -> Error {
        Error::Package { path: self.path.to_owned(), source }
    }
}

impl KernelSource for PackageFile<'_> {
    fn describe(&self, _: &Spec) -> Result<Known, Error> {
        let bytes = fs::metadata(self.path).map_err(FileError::of("read", self.path))?.len();
        // The release would cost reading the whole file.
        Ok(Known { cached: true, bytes, ..Known::default() })
    }

    fn check(&self, _: &Spec) -> Result<(), Error> {
        Ok(())
    }

    fn obtain(&self, spec: &Spec, observer: &dyn Observer) -> Result<Obtained, Error> {
        // Again, if another run has pruned it just now.
        let (stored, lease) = loop {
            let stored = self.stored(observer)?;
            if let Some(lease) = self.store.hold(&stored) {
                break (stored, lease);
            }
        };
        let source =
            Source::Image { image: stored.image(), config: stored.config(), modules: stored.modules() };
        let kernel = Kernel {
            spec: spec.to_string(),
            release: stored.record.release,
            version: None,
            source,
            id: stored.key,
        };
        Ok(Obtained { kernel, lease: Some(lease) })
    }
}

#[cfg(test)]
#[path = "package_file_tests.rs"]
mod tests;
