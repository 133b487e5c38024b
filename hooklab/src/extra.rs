//! Files and directories of this host that come along into a guest (`--file`), and how much a guest takes in.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use hooklab_vm::binary;
use hooklab_vm::payload::{self, Payload};

use crate::exit::UsageError;
use crate::setup::is_program;

/// Directory of the payload whose content comes to the same paths in a guest.
const ROOT: &str = "root";

/// Largest payload that a guest takes in, in bytes: it has 256 MiB of memory, and what runs there needs some of it.
pub(crate) const MAX_PAYLOAD: usize = 96 << 20;

/// Most files and directories that come along for one option.
const ENTRIES: usize = 10_000;

/// What a guest has of its own at its root: nothing of the host may take its place.
const GUESTS: [&str; 6] = ["dev", "init", "modules", "payload", "proc", "sys"];

/// The one directory below these that is there for files.
const SHARED: &str = "root/dev/shm";

/// A file or directory that comes along.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Extra {
    from: PathBuf,
    /// Its name in the payload.
    to: PathBuf,
}

impl Extra {
    /// Reads `PATH[:DEST]`. A relative DEST, or without one a relative PATH, is placed below `base`, a directory of the
    /// payload.
    ///
    /// # Errors
    /// [`UsageError`] if there is no such file, or no such place in a guest.
    pub(crate) fn parse(text: &str, base: &Path) -> Result<Self> {
        let (from, to) = match text.rsplit_once(':') {
            Some((from, to)) if !from.is_empty() && !to.is_empty() && !Path::new(text).exists() => {
                (Path::new(from), Path::new(to))
            }
            _ => (Path::new(text), Path::new(text)),
        };
        if !from.exists() {
            return Err(UsageError(format!("there is no file {}", from.display())).into());
        }
        let refused = |why: &str| {
            UsageError(format!("failed to place {text} in a guest: {why}; name its place there as PATH:DEST"))
        };
        let place = if to.is_absolute() { in_root(to) } else { base.join(to) };
        let top = if to.is_absolute() {
            Path::new(ROOT)
        } else {
            Path::new(base.iter().next().unwrap_or_default())
        };
        let place = normal(&place).filter(|place| place.starts_with(top) && place != top);
        let to = place.ok_or_else(|| refused("its path leads out of there"))?;
        let is_of_guests = to.strip_prefix(ROOT).is_ok_and(is_of_guests);
        if is_of_guests && !to.starts_with(SHARED) {
            return Err(refused("that path is the guest's own").into());
        }
        Ok(Self { from: from.to_owned(), to })
    }

    /// Adds it to a payload: links are followed, and programs bring their libraries.
    ///
    /// # Errors
    /// [`UsageError`] if it is too large, or something of it is neither a file nor a directory.
    pub(crate) fn pack(&self, archive: &mut payload::Builder) -> Result<()> {
        let mut walk = Walk { archive, entries: 0, above: Vec::new() };
        let added = walk.add(&self.from, &self.to);
        added.map_err(|error| UsageError(format!("failed to pack {}: {error:#}", self.from.display())).into())
    }
}

/// Adds a directory to a payload.
struct Walk<'a> {
    archive: &'a mut payload::Builder,
    entries: usize,
    /// The directories that it is in, by device and inode.
    above: Vec<(u64, u64)>,
}

impl Walk<'_> {
    fn add(&mut self, from: &Path, to: &Path) -> Result<()> {
        self.entries += 1;
        anyhow::ensure!(self.entries <= ENTRIES, "there are more than {ENTRIES} files and directories in it");
        let name = from.display();
        let metadata = fs::metadata(from).with_context(|| format!("failed to read {name}"))?;
        let place = to.to_str().with_context(|| format!("the name {name} is not UTF-8"))?;
        match metadata {
            directory if directory.is_dir() => self.add_directory(from, to, &directory),
            file if file.is_file() => {
                let bytes = usize::try_from(file.len()).unwrap_or(usize::MAX);
                if self.archive.bytes().saturating_add(bytes) > MAX_PAYLOAD {
                    let limit = MAX_PAYLOAD >> 20;
                    bail!("with it there are more than {limit} MiB, and a guest takes in no more");
                }
                if is_program(from) && binary::check(from).is_ok() {
                    return Ok(self.archive.add_program(place, from)?);
                }
                Ok(self.archive.add_with_mode(place, from, file.permissions().mode() & 0o777)?)
            }
            _ => bail!("{name} is neither a file nor a directory"),
        }
    }

    fn add_directory(&mut self, from: &Path, to: &Path, metadata: &Metadata) -> Result<()> {
        let name = from.display();
        let itself = (metadata.dev(), metadata.ino());
        anyhow::ensure!(!self.above.contains(&itself), "the link {name} leads to a directory that it is in");
        self.archive.add_directory(&to.display().to_string())?;
        self.above.push(itself);
        let entries = fs::read_dir(from).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let mut entries = entries.with_context(|| format!("failed to read {name}"))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            self.add(&entry.path(), &to.join(entry.file_name()))?;
        }
        self.above.pop();
        Ok(())
    }
}

/// Whether an absolute path, or one relative to the root, leads to what a guest has of its own.
pub(crate) fn is_of_guests(path: &Path) -> bool {
    let top = path.iter().find(|part| *part != "/");
    top.is_some_and(|name| GUESTS.iter().any(|own| name == *own))
}

/// The name in the payload of a file that comes to the same path in a guest.
pub(crate) fn in_root(path: &Path) -> PathBuf {
    Path::new(ROOT).join(path.strip_prefix("/").unwrap_or(path))
}

/// A path without `.` and `..`; none if it leads above its beginning.
pub(crate) fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if normal.file_name().is_none() => return None,
            Component::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    Some(normal)
}

/// The finished payload, unless it is larger than a guest takes in; `what` names its content, and `advice` says what to do
/// about it.
///
/// # Errors
/// [`UsageError`] if it is too large.
pub(crate) fn finish(archive: payload::Builder, what: &str, advice: &str) -> Result<Payload> {
    let payload = archive.finish().context("failed to pack the payload")?;
    let (mib, limit) = (payload.archive.len() >> 20, MAX_PAYLOAD >> 20);
    if payload.archive.len() > MAX_PAYLOAD {
        let message = format!("{what} have {mib} MiB, and a guest takes in {limit} at most{advice}");
        return Err(UsageError(message).into());
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn to(text: &str, base: &str) -> Result<String> {
        Ok(Extra::parse(text, Path::new(base))?.to.display().to_string())
    }

    #[test]
    fn files_have_a_place() {
        assert_eq!(to("/etc/passwd", "work").unwrap(), "root/etc/passwd");
        assert_eq!(to("/etc/passwd:data/x", "work").unwrap(), "work/data/x");
        assert_eq!(to("/etc/passwd:/data", "work").unwrap(), "root/data");
        assert_eq!(to("/etc/passwd:/dev/shm/x", "work").unwrap(), "root/dev/shm/x");
        assert_eq!(to("src/../Cargo.toml", "root/home/me/mine").unwrap(), "root/home/me/mine/Cargo.toml");
        assert_eq!(to("/etc/passwd:../x", "root/home/me").unwrap(), "root/home/x");
    }

    #[test]
    fn no_path_leads_out_of_a_guest_or_to_what_is_its_own() {
        let why = |text: &str| to(text, "work").unwrap_err().to_string();
        assert!(why("/no/such/file").contains("there is no file /no/such/file"));
        for text in ["/etc/passwd:../x", "/etc/passwd:/../x", "/etc/passwd:a/../..", "/etc/passwd:/"] {
            assert!(why(text).contains("leads out of there"), "{text}: {}", why(text));
        }
        for text in ["/proc/self", "/etc/passwd:/sys/x", "/etc/passwd:/dev/null", "/etc/passwd:/init"] {
            assert!(why(text).contains("the guest's own"), "{text}: {}", why(text));
        }
    }

    fn names(path: &Path) -> Result<Vec<String>> {
        let mut archive = payload::Builder::default();
        Extra { from: path.to_owned(), to: "x".into() }.pack(&mut archive)?;
        let archive = archive.finish().unwrap().archive;
        let mut archive = tar::Archive::new(archive.as_slice());
        let entries = archive.entries().unwrap().map(|entry| entry.unwrap());
        Ok(entries
            .map(|entry| {
                let mode = entry.header().mode().unwrap();
                format!("{} {mode:o}", entry.path().unwrap().display())
            })
            .collect())
    }

    #[test]
    fn a_directory_comes_with_all_that_its_links_lead_to_and_its_modes() {
        let directory = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("c"), "c").unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("empty")).unwrap();
        fs::write(path("a"), "a").unwrap();
        fs::set_permissions(path("a"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink(other.path(), path("b")).unwrap();
        fs::set_permissions(other.path().join("c"), fs::Permissions::from_mode(0o755)).unwrap();
        let expected = ["x 755", "x/a 640", "x/b 755", "x/b/c 755", "x/empty 755"];
        assert_eq!(names(directory.path()).unwrap(), expected);
    }

    #[test]
    fn what_has_no_end_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let why = |path: &Path| names(path).unwrap_err().to_string();
        assert!(why(Path::new("/dev/zero")).contains("is neither a file nor a directory"));
        let large = fs::File::create(directory.path().join("large")).unwrap();
        large.set_len(100 << 20).unwrap();
        assert!(why(directory.path()).contains("more than 96 MiB"), "{}", why(directory.path()));
        fs::remove_file(directory.path().join("large")).unwrap();
        fs::create_dir(directory.path().join("below")).unwrap();
        symlink("..", directory.path().join("below/up")).unwrap();
        assert!(why(directory.path()).contains("leads to a directory that it is in"));
    }
}
