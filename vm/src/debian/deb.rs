//! Reads files out of a Debian package, with dpkg-deb for the package's format and compression.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Component, Path};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use super::command;
use super::error::Error;
use super::trouble::Trouble;

/// Shows the regular files of a package to `visit`, in the package's order, until it asks to stop.
///
/// The path is relative and has only ordinary components. Nothing is written: that is up to `visit`, under names of
/// its own.
pub(crate) fn visit<E: From<Error>>(
    deb: &Path,
    cancel: &AtomicBool,
    visit: impl FnMut(&str, &mut dyn Read) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let mut command = Command::new("dpkg-deb");
    command.arg("--fsys-tarfile").arg(deb).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command::spawn(&mut command, "dpkg")?;
    let messages = command::collect_stderr(&mut child, |_| {});
    let broken = |trouble| E::from(Error::Unpack { package: file_name(deb), trouble });

    let flow = match child.stdout.take() {
        Some(stdout) => read(stdout, cancel, visit),
        None => Ok(ControlFlow::Continue(())),
    };
    if !matches!(flow, Ok(ControlFlow::Continue(()))) {
        // Stopped early, or damaged: what dpkg-deb still has to say may be the reason for the damage.
        command::end(&mut child);
        let messages = messages.join().unwrap_or_default();
        return match flow {
            Ok(_) => Ok(()),
            Err(ReadError::Visitor(error)) => Err(error),
            Err(ReadError::Tar(error)) => {
                let said = Trouble::of(&messages);
                Err(broken(Trouble::Other(format!("{error}; {said}"))))
            }
            Err(ReadError::Cancelled) => Err(Error::Cancelled.into()),
        };
    }
    let status = child.wait().map_err(|source| command::failed(&command, "dpkg", source))?;
    let messages = messages.join().unwrap_or_default();
    if status.success() { Ok(()) } else { Err(broken(Trouble::of(&messages))) }
}

/// Why reading stopped.
enum ReadError<E> {
    /// The archive is damaged.
    Tar(std::io::Error),
    /// The visitor failed.
    Visitor(E),
    /// Someone asked to stop.
    Cancelled,
}

/// Shows the regular files of a tar archive to `visit`.
fn read<E>(
    archive: impl Read,
    cancel: &AtomicBool,
    mut visit: impl FnMut(&str, &mut dyn Read) -> Result<ControlFlow<()>, E>,
) -> Result<ControlFlow<()>, ReadError<E>> {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().map_err(ReadError::Tar)? {
        if cancel.load(Ordering::Relaxed) {
            return Err(ReadError::Cancelled);
        }
        let mut entry = entry.map_err(ReadError::Tar)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = ordinary(&entry.path().map_err(ReadError::Tar)?);
        if let Some(path) = path
            && visit(&path, &mut entry).map_err(ReadError::Visitor)?.is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The path without a leading `./`; none if it would lead out of the directory that it is unpacked in.
fn ordinary(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_str()?),
            _ => return None,
        }
    }
    Some(parts.join("/"))
}

/// The last part of a path, for messages.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    static NEVER: AtomicBool = AtomicBool::new(false);

    #[test]
    fn paths_cannot_lead_out() {
        assert_eq!(ordinary(Path::new("./boot/vmlinuz-1")).as_deref(), Some("boot/vmlinuz-1"));
        assert_eq!(ordinary(Path::new("../etc/passwd")), None);
        assert_eq!(ordinary(Path::new("boot/../../x")), None);
        assert_eq!(ordinary(Path::new("/etc/passwd")), None);
    }

    fn package(directory: &Path) -> PathBuf {
        let root = directory.join("root");
        std::fs::create_dir_all(root.join("DEBIAN")).unwrap();
        let control =
            "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x.example>\nDescription: x\n";
        std::fs::write(root.join("DEBIAN/control"), control).unwrap();
        std::fs::create_dir(root.join("boot")).unwrap();
        std::fs::write(root.join("boot/a"), "first").unwrap();
        std::fs::write(root.join("boot/b"), "second").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("boot/link")).unwrap();
        let deb = directory.join("x.deb");
        let mut command = Command::new("dpkg-deb");
        command.args(["--root-owner-group", "--build"]).arg(&root).arg(&deb).stdout(Stdio::null());
        assert!(command.status().unwrap().success());
        deb
    }

    #[test]
    fn regular_files_are_shown_until_the_visitor_has_enough() {
        let directory = tempfile::tempdir().unwrap();
        let deb = package(directory.path());
        let mut seen = Vec::new();
        visit(&deb, &NEVER, |path, content| {
            let mut text = String::new();
            content.read_to_string(&mut text).unwrap();
            seen.push((path.to_owned(), text));
            Ok::<_, Error>(ControlFlow::Continue(()))
        })
        .unwrap();
        seen.sort();
        let expected = [("boot/a", "first"), ("boot/b", "second")];
        assert_eq!(seen, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));

        let mut count = 0;
        visit(&deb, &NEVER, |_, _| {
            count += 1;
            Ok::<_, Error>(ControlFlow::Break(()))
        })
        .unwrap();
        assert_eq!(count, 1);
    }

    #[test]
    fn a_truncated_package_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let deb = package(directory.path());
        let content = std::fs::read(&deb).unwrap();
        std::fs::write(&deb, &content[..content.len() - 60]).unwrap();
        let error = visit(&deb, &NEVER, |_, _| Ok::<_, Error>(ControlFlow::Continue(()))).unwrap_err();
        assert_eq!(error.to_string(), "failed to unpack x.deb");
    }
}
