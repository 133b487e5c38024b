//! Debian's archive as one user's cache and options have it.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::apt::Apt;
use super::deb;
use super::error::Error;
use super::index::{Index, Wanted};
use super::mirror::Mirror;
use super::package::Package;
use super::suites::Suites;
use crate::event::{Event, Observer};
use crate::host::{FileError, file_lock};

/// How the archive may be used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// The URL of the main archive; without, that of the host's own apt sources.
    pub(crate) mirror: Option<String>,
    /// The URL of the security archive; without, the mirror's with `-security` appended.
    pub(crate) security_mirror: Option<String>,
    /// Believe the rolling suites' indexes also after they have expired; their signatures are checked all the same.
    pub(crate) accept_expired: bool,
    /// Set it from anywhere to stop.
    pub(crate) cancel: Arc<AtomicBool>,
}

/// Debian's archive.
#[derive(Debug)]
pub struct Repository {
    /// What apt keeps, and we of what it says.
    state: PathBuf,
    suites: Suites,
    /// In Debian's words: `amd64`.
    architecture: &'static str,
    options: Options,
    /// Whether the suites that are left out have been named already.
    warned: AtomicBool,
}

impl Repository {
    /// The archive, with its state in a directory that need not exist; nothing is made or asked before it is needed.
    pub(crate) fn new(state: PathBuf, suites: Suites, architecture: &'static str, options: Options) -> Self {
        Self { state, suites, architecture, options, warned: AtomicBool::new(false) }
    }

    /// What the suites have of the `wanted` packages. An index that is a few hours old will do, unless `afresh`.
    pub(crate) fn index(
        &self,
        wanted: &Wanted,
        afresh: bool,
        observer: &dyn Observer,
    ) -> Result<Index, Error> {
        fs::create_dir_all(&self.state).map_err(FileError::of("create", &self.state))?;
        let waiting =
            || observer.notify(Event::Step("waiting for another run that updates the index".into()));
        let _lock = file_lock::wait(&self.state.join("lock"), self.cancel(), waiting)?;
        let file = self.state.join(format!("{}.json", wanted.name));
        let mirror = self.mirror()?;
        let sources = mirror.sources(&self.suites, self.options.accept_expired);
        let index = match Index::read_fresh(&file, &sources).filter(|_| !afresh) {
            Some(index) => index,
            None => {
                observer.notify(Event::Step("updating the index of Debian's packages".into()));
                let apt = Apt::open(&self.state, mirror, self.architecture, self.cancel())?;
                let update = apt.update(&self.suites, self.options.accept_expired)?;
                Index::read(&apt, update, &self.suites, wanted, sources, &file)?
            }
        };
        // Said once, however often the index is needed.
        if !self.warned.swap(true, Ordering::Relaxed) {
            for warning in index.warnings() {
                observer.notify(Event::Warning(warning));
            }
        }
        Ok(index)
    }

    /// The means to download packages.
    pub(crate) fn apt(&self) -> Result<Apt<'_>, Error> {
        Apt::open(&self.state, self.mirror()?, self.architecture, self.cancel())
    }

    /// Downloads a package, checks it, and unpacks files of it: `place` gives each regular file's place in `target`,
    /// or none for those to leave out. It gets paths without `..` and without a leading slash.
    ///
    /// Only one process at a time may do this with `target`, which also holds the download for as long as it is needed:
    /// a next try resumes it.
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
        fs::create_dir_all(target).map_err(FileError::of("create", target))?;
        let deb = target.join(format!("{}.deb", package.name));
        observer.notify(Event::Step(format!("downloading {}", package.title())));
        self.apt()?.download(package, &deb, observer)?;
        observer.notify(Event::Step(format!("unpacking {}", package.title())));
        deb::visit(&deb, self.cancel(), |path, content| {
            if let Some(path) = place(path) {
                let path = target.join(path);
                write(&path, content).map_err(FileError::of("write", &path))?;
            }
            Ok::<_, Error>(ControlFlow::Continue(()))
        })?;
        Ok(fs::remove_file(&deb).map_err(FileError::of("remove", &deb))?)
    }

    fn mirror(&self) -> Result<Mirror, Error> {
        let Options { mirror, security_mirror, .. } = &self.options;
        Mirror::find(mirror.as_deref(), security_mirror.as_deref(), &self.suites)
    }

    fn cancel(&self) -> &AtomicBool {
        &self.options.cancel
    }
}

fn write(path: &Path, content: &mut dyn io::Read) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    io::copy(content, &mut File::create(path)?)?;
    Ok(())
}
