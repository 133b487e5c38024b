//! Debian packages other than kernels, had the way kernels are: the same mirror, the same private apt, the same hash.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::deb;
use crate::debian::apt::Apt;
use crate::event::{Event, Observer};
use crate::kernel::Kernels;
use crate::kernel::error::Error;
use crate::kernel::lock::Package;

impl Package {
    /// Reads a file in TOML that pins one package, in the form of an entry of `kernels.lock`.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let malformed = |reason: String| Error::Malformed { path: path.to_owned(), reason };
        let package: Package = toml::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        package.check().map_err(malformed)?;
        Ok(package)
    }
}

impl Kernels {
    /// Downloads a package, checks it, and unpacks files of it: `place` gives each regular file's place in `target`,
    /// or none for those to leave out. It gets paths without `..` and without a leading slash.
    ///
    /// Only one process at a time may do this with `target`, which also holds the download for as long as it is needed:
    /// a next try goes on with it.
    ///
    /// # Errors
    /// The package cannot be downloaded or is not the pinned one; a file cannot be written.
    pub fn unpack(
        &self,
        package: &Package,
        target: &Path,
        place: impl Fn(&str) -> Option<PathBuf>,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        fs::create_dir_all(target).map_err(Error::io("create", target))?;
        let deb = target.join(format!("{}.deb", package.name));
        observer.notify(Event::Step(format!("downloading {}", package.title())));
        let folder = self.cache().join("apt");
        let apt = Apt::open(&folder, self.mirror()?, self.cancel())?;
        apt.download(package, &deb, observer)?;
        observer.notify(Event::Step(format!("unpacking {}", package.title())));
        deb::visit(&deb, self.cancel(), |path, content| {
            if let Some(path) = place(path) {
                let path = target.join(path);
                write(&path, content).map_err(Error::io("write", &path))?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        fs::remove_file(&deb).map_err(Error::io("remove", &deb))
    }
}

fn write(path: &Path, content: &mut dyn io::Read) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    io::copy(content, &mut File::create(path)?)?;
    Ok(())
}
