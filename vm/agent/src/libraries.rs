//! Dynamic linkers and libraries of a payload, put where the programs ask for them.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::Error;

/// Links each file below `from` to the same place below `root`, unless something is there.
pub(crate) fn link_into_root(from: &Path, root: &Path) -> Result<(), Error> {
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::system(format!("read {}", from.display()))(error)),
    };
    for entry in entries.flatten() {
        let (source, place) = (entry.path(), root.join(entry.file_name()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let made = fs::create_dir_all(&place);
            made.map_err(Error::system(format!("make {}", place.display())))?;
            link_into_root(&source, &place)?;
            continue;
        }
        match symlink(&source, &place) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::system(format!("link {}", place.display()))(error));
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
    fn libraries_come_to_their_places_and_replace_nothing() {
        let place = std::env::temp_dir().join(format!("hooklab-libraries-{}", std::process::id()));
        let (from, root) = (place.join("from"), place.join("root"));
        fs::create_dir_all(from.join("lib/deep")).unwrap();
        fs::create_dir_all(root.join("lib")).unwrap();
        for (path, content) in [("lib/deep/a.so", "a"), ("lib/b.so", "b")] {
            fs::write(from.join(path), content).unwrap();
        }
        fs::write(root.join("lib/b.so"), "the agent's own").unwrap();
        link_into_root(&from, &root).unwrap();
        assert_eq!(fs::read_to_string(root.join("lib/deep/a.so")).unwrap(), "a");
        assert_eq!(fs::read_to_string(root.join("lib/b.so")).unwrap(), "the agent's own");
        link_into_root(&place.join("nothing"), &root).unwrap();
        fs::remove_dir_all(place).unwrap();
    }
}
