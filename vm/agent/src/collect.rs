//! Finds the files that tests made or changed, so that they can travel back.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hooklab_protocol::{MAX_FRAME, PAYLOAD_MTIME, Report};

/// Watches one folder.
pub(crate) struct Collector {
    folder: PathBuf,
    sent: HashMap<PathBuf, SystemTime>,
}

impl Collector {
    /// Watches `folder`, whose files all bear [`PAYLOAD_MTIME`] now.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, sent: HashMap::new() }
    }

    /// Text files made or changed since the last call. What cannot be read, is no text, or would not fit a frame
    /// is left out.
    pub(crate) fn changed(&mut self) -> Vec<Report> {
        let mut files = Vec::new();
        let root = self.folder.clone();
        self.visit(&root, &mut files);
        files
    }

    fn visit(&mut self, folder: &Path, files: &mut Vec<Report>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                self.visit(&entry.path(), files);
            } else if metadata.is_file()
                && let Ok(modified) = metadata.modified()
                && self.is_news(&entry.path(), modified)
                // JSON may need up to six bytes for one.
                && metadata.len() < (MAX_FRAME / 8) as u64
                && let Some(report) = self.read(&entry.path())
            {
                files.push(report);
            }
        }
    }

    fn is_news(&mut self, path: &Path, modified: SystemTime) -> bool {
        modified > UNIX_EPOCH + Duration::from_secs(PAYLOAD_MTIME)
            && self.sent.insert(path.to_owned(), modified) != Some(modified)
    }

    fn read(&self, path: &Path) -> Option<Report> {
        let content = fs::read_to_string(path).ok()?;
        let relative = path.strip_prefix(&self.folder).ok()?.to_str()?;
        Some(Report::File { path: relative.to_owned(), content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_since_is_collected() {
        let folder = std::env::temp_dir().join(format!("hooklab-collect-{}", std::process::id()));
        fs::create_dir_all(folder.join("snapshots")).unwrap();
        let old = folder.join("snapshots/old.snap");
        fs::write(&old, "old").unwrap();
        let mtime = UNIX_EPOCH + Duration::from_secs(PAYLOAD_MTIME);
        fs::File::options().write(true).open(&old).unwrap().set_modified(mtime).unwrap();
        let mut collector = Collector::new(folder.clone());
        assert_eq!(collector.changed(), []);

        fs::write(folder.join("snapshots/new.snap.new"), "new").unwrap();
        fs::write(folder.join("binary"), [0xff, 0xfe]).unwrap();
        let expected = Report::File { path: "snapshots/new.snap.new".into(), content: "new".into() };
        assert_eq!(collector.changed(), [expected]);
        assert_eq!(collector.changed(), []);
        fs::remove_dir_all(folder).unwrap();
    }
}
