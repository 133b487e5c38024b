//! Collects the files that tests create or change, to send them to the host.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hooklab_protocol::{MAX_FRAME, PAYLOAD_MTIME, Report};

/// Collects files from one directory.
pub(crate) struct Collector {
    directory: PathBuf,
    sent: HashMap<PathBuf, SystemTime>,
}

impl Collector {
    /// Creates a collector for `directory`, in which every file still has the modification time [`PAYLOAD_MTIME`].
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, sent: HashMap::new() }
    }

    /// Text files created or changed since the last call. Skips those that cannot be read, are not text, or would exceed
    /// the length of a frame.
    pub(crate) fn changed(&mut self) -> Vec<Report> {
        let mut files = Vec::new();
        let root = self.directory.clone();
        self.visit(&root, &mut files);
        files
    }

    fn visit(&mut self, directory: &Path, files: &mut Vec<Report>) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                self.visit(&entry.path(), files);
            } else if metadata.is_file()
                && let Ok(modified) = metadata.modified()
                && self.is_unsent(&entry.path(), modified)
                // JSON escapes may take six bytes for one.
                && metadata.len() < (MAX_FRAME / 8) as u64
                && let Some(report) = self.read(&entry.path())
            {
                files.push(report);
            }
        }
    }

    fn is_unsent(&mut self, path: &Path, modified: SystemTime) -> bool {
        modified > UNIX_EPOCH + Duration::from_secs(PAYLOAD_MTIME)
            && self.sent.insert(path.to_owned(), modified) != Some(modified)
    }

    fn read(&self, path: &Path) -> Option<Report> {
        let content = fs::read_to_string(path).ok()?;
        let relative = path.strip_prefix(&self.directory).ok()?.to_str()?;
        Some(Report::File { path: relative.to_owned(), content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_changed_since_the_last_call_are_collected() {
        let directory = std::env::temp_dir().join(format!("hooklab-collect-{}", std::process::id()));
        fs::create_dir_all(directory.join("snapshots")).unwrap();
        let old = directory.join("snapshots/old.snap");
        fs::write(&old, "old").unwrap();
        let mtime = UNIX_EPOCH + Duration::from_secs(PAYLOAD_MTIME);
        fs::File::options().write(true).open(&old).unwrap().set_modified(mtime).unwrap();
        let mut collector = Collector::new(directory.clone());
        assert_eq!(collector.changed(), []);

        fs::write(directory.join("snapshots/new.snap.new"), "new").unwrap();
        fs::write(directory.join("binary"), [0xff, 0xfe]).unwrap();
        let expected = Report::File { path: "snapshots/new.snap.new".into(), content: "new".into() };
        assert_eq!(collector.changed(), [expected]);
        assert_eq!(collector.changed(), []);
        fs::remove_dir_all(directory).unwrap();
    }
}
