//! Links the dynamic linkers and libraries of a payload to the paths at which programs expect them.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::Error;

/// Creates a symbolic link below `root` for each file below `from`, at the same relative path, unless that exists.
pub(crate) fn link_into_root(from: &Path, root: &Path) -> Result<(), Error> {
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::system(format!("read {}", from.display()))(error)),
    };
    for entry in entries.flatten() {
        let (source, target) = (entry.path(), root.join(entry.file_name()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let created = fs::create_dir_all(&target);
            created.map_err(Error::system(format!("create {}", target.display())))?;
            link_into_root(&source, &target)?;
            continue;
        }
        match symlink(&source, &target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::system(format!("create the link {}", target.display()))(error));
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
    fn libraries_are_linked_and_existing_files_kept() {
        let directory = std::env::temp_dir().join(format!("hooklab-libraries-{}", std::process::id()));
        let (from, root) = (directory.join("from"), directory.join("root"));
        fs::create_dir_all(from.join("lib/deep")).unwrap();
        fs::create_dir_all(root.join("lib")).unwrap();
        for (path, content) in [("lib/deep/a.so", "a"), ("lib/b.so", "b")] {
            fs::write(from.join(path), content).unwrap();
        }
        fs::write(root.join("lib/b.so"), "the agent's own").unwrap();
        link_into_root(&from, &root).unwrap();
        assert_eq!(fs::read_to_string(root.join("lib/deep/a.so")).unwrap(), "a");
        assert_eq!(fs::read_to_string(root.join("lib/b.so")).unwrap(), "the agent's own");
        link_into_root(&directory.join("missing"), &root).unwrap();
        fs::remove_dir_all(directory).unwrap();
    }
}
