//! Files and directories that programs expect of a Linux system, and that no file system brings along.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::Path;

use crate::Error;

/// Directories, each with its mode: everybody may write to the last two, and remove their own files alone.
const DIRECTORIES: [(&str, u32); 5] =
    [("etc", 0o755), ("run", 0o755), ("root", 0o700), ("var", 0o755), ("var/tmp", 0o1777)];

/// Files with what they contain: users and groups (passwd(5), group(5)), the local host (hosts(5)), and that all of these are
/// looked up in files alone (nsswitch.conf(5)).
const FILES: [(&str, &str); 4] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\nprotocols: files\n",
    ),
];

/// Links: devtmpfs has none of them (kernel documentation, "Linux allocated devices", "Compulsory links").
const LINKS: [(&str, &str); 5] = [
    ("dev/fd", "/proc/self/fd"),
    ("dev/stdin", "/proc/self/fd/0"),
    ("dev/stdout", "/proc/self/fd/1"),
    ("dev/stderr", "/proc/self/fd/2"),
    ("var/run", "/run"),
];

/// Creates them below `root`; what exists, because the payload brought it, stays as it is.
pub(crate) fn add(root: &Path) -> Result<(), Error> {
    let what = |name: &str| Error::system(format!("create /{name}"));
    for (name, mode) in DIRECTORIES {
        let path = root.join(name);
        let made = fs::DirBuilder::new().mode(mode).create(&path);
        // The mode that is asked for passes through the agent's umask.
        let made = made.and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)));
        unless_exists(made).map_err(what(name))?;
    }
    for (name, content) in FILES {
        let file = fs::File::create_new(root.join(name));
        let written = file.and_then(|mut file| file.write_all(content.as_bytes()));
        unless_exists(written).map_err(what(name))?;
    }
    for (name, target) in LINKS {
        unless_exists(symlink(target, root.join(name))).map_err(what(name))?;
    }
    Ok(())
}

fn unless_exists(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_payload_brings_stays() {
        let root = std::env::temp_dir().join(format!("hooklab-system_files-{}", std::process::id()));
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir(root.join("dev")).unwrap();
        fs::write(root.join("etc/hosts"), "10.0.0.1 mine\n").unwrap();
        add(&root).unwrap();
        assert_eq!(fs::read_to_string(root.join("etc/hosts")).unwrap(), "10.0.0.1 mine\n");
        assert!(fs::read_to_string(root.join("etc/passwd")).unwrap().starts_with("root:x:0:0:"));
        let mode = root.join("var/tmp").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o1777);
        assert_eq!(fs::read_link(root.join("dev/fd")).unwrap(), Path::new("/proc/self/fd"));
        add(&root).unwrap();
        fs::remove_dir_all(root).unwrap();
    }
}
