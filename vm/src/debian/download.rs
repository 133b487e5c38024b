//! Downloads packages by apt's own transport, so that the host's proxies and certificates hold, and resumes
//! interrupted ones.
//!
//! apt asks for the rest of a file with `If-Range` and the file's modification time, and sets that time to the server's
//! `Last-Modified` only once a download ends in peace. Of one that was killed it is noted beside the file, from what apt
//! tells of the server's answer, and put right before the next try. A server that gives no such time sends all again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::apt::{Apt, HELPER};
use super::command;
use super::error::Error;
use super::package::Package;
use super::trouble::Trouble;
use crate::event::{Event, Observer};
use crate::host::{FileError, digest};

/// Has apt tell what servers answer (`apt-transport-http(1)`).
const TELL_ANSWERS: [&str; 4] =
    ["--option", "Debug::Acquire::http=true", "--option", "Debug::Acquire::https=true"];

impl Apt<'_> {
    /// Downloads a package to `target` and checks it; resumes an interrupted one.
    pub(crate) fn download(
        &self,
        package: &Package,
        target: &Path,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        if is_whole(package, target)? {
            return Ok(());
        }
        let resumed = target.exists();
        match self.download_once(package, target, observer) {
            // What an earlier try left may belong to another file by now.
            Err(Error::Mismatch { .. }) if resumed => self.download_once(package, target, observer),
            result => result,
        }
    }

    fn download_once(&self, package: &Package, target: &Path, observer: &dyn Observer) -> Result<(), Error> {
        let base = self.mirror.base(package.archive);
        // apt's `file:` hands out the original instead of a copy.
        let url = match base.strip_prefix("file:") {
            Some(base) => format!("copy:{base}{}", package.path),
            None => format!("{base}{}", package.path),
        };
        restore_time(target);
        let mut command = self.command(HELPER);
        // Whether it is the pinned file is for us to say, below: how apt words that differs by version and method.
        command.args(TELL_ANSWERS).arg("download-file").arg(url).arg(target);
        let progress = || {
            let received = fs::metadata(target).map_or(0, |data| data.len()).min(package.size);
            observer.notify(Event::Download { name: package.title(), received, total: package.size });
        };
        let note = time_note(target);
        let hear = move |line: &str| {
            if let Some(time) = last_modified(line) {
                // Without the note the next try begins anew, no more.
                let _ = fs::write(&note, time);
            }
        };
        let (status, messages) = command::run_and_hear(&mut command, "apt", self.cancel, progress, hear)?;
        if is_whole(package, target)? {
            progress();
            return Ok(());
        }
        let what = package.title();
        match Trouble::of_download(&messages) {
            trouble if status.success() || trouble == Trouble::Mismatch => {
                discard(target)?;
                Err(Error::Mismatch { what, expected: package.sha256.clone() })
            }
            Trouble::Gone => {
                Err(Error::Gone { package: package.name.clone(), version: package.version.clone() })
            }
            trouble => Err(Error::Download { what, trouble }),
        }
    }
}

/// Where the server's time of a file is noted.
fn time_note(target: &Path) -> PathBuf {
    beside(target, ".modified")
}

fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut path = target.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The time in a line of an answer's header, if it is that line.
fn last_modified(line: &str) -> Option<&str> {
    let (field, value) = line.split_once(':')?;
    field.trim().eq_ignore_ascii_case("last-modified").then(|| value.trim())
}

/// Gives what an earlier try left the time that its server said, so that apt asks for the rest of the same file. If it
/// cannot be done, all is asked for.
fn restore_time(target: &Path) {
    let time =
        fs::read_to_string(time_note(target)).ok().and_then(|text| httpdate::parse_http_date(&text).ok());
    if let (Some(time), Ok(file)) = (time, File::options().append(true).open(target)) {
        let _ = file.set_modified(time);
    }
}

/// Whether the file is there with the package's size and hash.
fn is_whole(package: &Package, path: &Path) -> Result<bool, Error> {
    match File::open(path).and_then(|file| file.metadata()) {
        Ok(data) if data.len() == package.size => {
            let digest = digest::sha256_of_file(path).map_err(FileError::of("read", path))?;
            Ok(digest == package.sha256)
        }
        _ => Ok(false),
    }
}

/// Removes a download that is not what it should be, the copy that apt keeps of such, and our note.
fn discard(target: &Path) -> Result<(), Error> {
    for path in [target, &beside(target, ".FAILED"), &time_note(target)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::of("remove", path)(error).into());
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_an_answer_is_found_however_it_is_written() {
        assert_eq!(
            last_modified("last-modified: Fri, 30 Oct 2026 08:08:01 GMT"),
            Some("Fri, 30 Oct 2026 08:08:01 GMT")
        );
        assert_eq!(last_modified("Last-Modified:x\r"), Some("x"));
        assert_eq!(last_modified("GET /last-modified: HTTP/1.1"), None);
    }
}
