//! Brings a pinned kernel into the cache: downloads its packages and keeps the few files that a guest needs.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::offer::Role;
use crate::arch;
use crate::debian::{self, Apt, Package};
use crate::event::{Event, Observer};
use crate::host::FileError;
use crate::kernel::error::Error;
use crate::kernel::image::{self, Module};
use crate::kernel::lock::Pin;
use crate::kernel::source::contents::{self, release_of};
use crate::kernel::stored::{Filling, Stored, Work};

/// The means to fetch.
pub(super) struct Fetch<'a> {
    pub(super) apt: &'a Apt<'a>,
    pub(super) cancel: &'a AtomicBool,
    pub(super) observer: &'a dyn Observer,
}

impl Fetch<'_> {
    /// Fills the directory that `work` holds with the kernel.
    ///
    /// # Errors
    /// [`debian::Error::Gone`] if the mirror lacks a package without which the kernel cannot be used.
    pub(super) fn kernel(&self, pin: &Pin, work: &Work) -> Result<Stored, Error> {
        let debs = work.downloads()?;
        let mut filling = work.start()?;
        for package in pin.packages.iter().filter(|package| Role::of(package) == Role::Image) {
            let deb = self.package(package, &debs)?;
            self.image_and_config(pin, &deb, &mut filling)?;
        }
        if !filling.has_image() {
            let package = pin.packages.first().map_or_else(String::new, Package::title);
            return Err(Error::NoImage { package, release: pin.release.clone() });
        }
        if !filling.has_config() {
            self.config_alone(pin, &debs, &mut filling)?;
        }
        let modules = self.modules(pin, &debs, &filling)?;
        filling.modules(&modules)?;
        filling.finish(&pin.release, Some(&pin.version))
    }

    /// Downloads a package, unless it is there; gives its file.
    fn package(&self, package: &Package, debs: &Path) -> Result<PathBuf, Error> {
        let deb = deb_path(package, debs);
        self.observer.notify(Event::Step(format!("downloading {}", package.title())));
        self.apt.download(package, &deb, self.observer)?;
        Ok(deb)
    }

    /// Takes image and config out of a package. They come before the modules, most of which are never unpacked.
    fn image_and_config(&self, pin: &Pin, deb: &Path, filling: &mut Filling) -> Result<(), Error> {
        self.observer.notify(Event::Step(format!("unpacking {}", pin.release)));
        let mut image = None;
        debian::visit(deb, self.cancel, |path, content| {
            if release_of(path, "vmlinuz") == Some(&pin.release) {
                image = Some(filling.image(content)?);
            } else if release_of(path, "config") == Some(&pin.release) {
                filling.config(content)?;
            }
            let done = filling.has_image() && filling.has_config();
            Ok::<_, Error>(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        let Some(image) = image else { return Ok(()) };
        match image::release(&image, &arch::GUEST)? {
            Some(release) if release != pin.release => Err(Error::AnotherRelease {
                package: deb.to_owned(),
                found: release,
                expected: pin.release.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Takes the config from a package of its own. Of superseded kernels Debian keeps only the image; that is enough.
    fn config_alone(&self, pin: &Pin, debs: &Path, filling: &mut Filling) -> Result<(), Error> {
        let Some(package) = pin.packages.iter().find(|package| Role::of(package) == Role::Config) else {
            return Ok(());
        };
        match self.package(package, debs) {
            Ok(deb) => self.image_and_config(pin, &deb, filling),
            Err(Error::Debian(debian::Error::Gone { package, version })) => {
                let text = format!(
                    "the mirror no longer has {package} {version}; using the kernel without its config"
                );
                self.observer.notify(Event::Warning(text));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The modules that the guest needs, as the config says, in load order.
    fn modules(&self, pin: &Pin, debs: &Path, filling: &Filling) -> Result<Vec<Module>, Error> {
        let Some(path) = filling.config_path() else {
            // Images without a config are superseded ones of 6.19 and later; these have the drivers built in.
            return Ok(Vec::new());
        };
        let text = fs::read_to_string(&path).map_err(FileError::of("read", &path))?;
        let wanted = image::needed_modules(&text, &pin.release)?;
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        // Without a package of their own they are in the image's, which has been downloaded.
        let of_role = |role: Role| pin.packages.iter().find(|package| Role::of(package) == role);
        let (package, deb) = match (of_role(Role::Modules), of_role(Role::Image)) {
            (Some(modules), _) => (modules, self.package(modules, debs)?),
            (None, Some(image)) => (image, deb_path(image, debs)),
            (None, None) => return Ok(Vec::new()),
        };
        self.observer.notify(Event::Step(format!("unpacking the modules of {}", pin.release)));
        image::in_load_order(&wanted, &pin.release, &package.name, |names| {
            contents::modules(&deb, names, self.cancel)
        })
    }
}

/// Where a package's download goes.
fn deb_path(package: &Package, debs: &Path) -> PathBuf {
    debs.join(format!("{}.deb", package.name))
}
