//! Snapshots that come back from guests, put where `cargo insta review` looks for them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use hooklab_vm::event::{Event, Observer};
use hooklab_vm::qemu::console::printable;

use crate::build::SNAPSHOTS;

/// Longest name of a snapshot that is taken, in bytes.
const NAME_BYTES: usize = 200;

/// What guests sent, by path; for each the kernels that sent it, and what they saw.
pub(crate) struct Snapshots {
    /// Whether those that a test accepted by itself are wanted.
    bless: bool,
    sent: Mutex<BTreeMap<PathBuf, Vec<(String, String)>>>,
}

impl Observer for Snapshots {
    fn notify(&self, event: Event) {
        if let Event::File { spec, path, content, .. } = event
            && let Some(path) = trusted(&path)
            && (self.bless || !is_accepted(&path))
            && is_plain(&content)
            && let Ok(mut sent) = self.sent.lock()
        {
            sent.entry(path).or_default().push((spec, content));
        }
    }
}

/// A guest names its files as it likes: only snapshots in their one directory are taken.
fn trusted(path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let in_place = path.parent() == Some(Path::new(SNAPSHOTS));
    let name = path.file_name()?.to_str()?;
    let stem = name.strip_suffix(".new").unwrap_or(name).strip_suffix(".snap")?;
    // insta itself makes names of no other characters.
    let is_name = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    let named = !stem.is_empty() && name.len() <= NAME_BYTES && stem.chars().all(is_name);
    (plain && in_place && named).then(|| path.to_owned())
}

/// Whether it replaces what was accepted before, instead of waiting for somebody to look at it.
fn is_accepted(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "snap")
}

/// Whether a review of it would not steer the terminal that it is shown on.
fn is_plain(content: &str) -> bool {
    let kept: usize = content.lines().map(|line| printable(line).len() + 1).sum();
    kept >= content.len()
}

impl Snapshots {
    /// With `bless`, snapshots that tests have accepted are taken, too.
    pub(crate) fn new(bless: bool) -> Self {
        Self { bless, sent: Mutex::default() }
    }

    /// Puts what was sent into the checkout `root`; says how many files it changed. A `.snap` replaces what was
    /// accepted before, and must be the same from every kernel and loader; of a `.snap.new` the last one is kept.
    pub(crate) fn store(&self, root: &Path) -> Result<usize> {
        let Ok(sent) = self.sent.lock() else { return Ok(0) };
        for (path, versions) in sent.iter().filter(|(path, _)| is_accepted(path)) {
            if let Some((one, other)) = disagreement(versions) {
                bail!(
                    "failed to accept {}: not every cell prints the same (one is on {one}, another on {other}), and \
                     one snapshot serves all; nothing was accepted",
                    path.display()
                );
            }
        }
        let mut changed = 0;
        for (path, versions) in sent.iter() {
            let (target, Some((_, content))) = (root.join(path), versions.last()) else { continue };
            if is_accepted(path) {
                // What was to be reviewed before is settled now.
                let _ = fs::remove_file(target.with_extension("snap.new"));
            }
            let accepted = fs::read_to_string(&target).ok();
            if !is_accepted(path) || accepted.as_deref().map(body) != Some(body(content)) {
                fs::create_dir_all(root.join(SNAPSHOTS))?;
                fs::write(&target, content)
                    .with_context(|| format!("failed to write {}", target.display()))?;
                changed += 1;
            }
        }
        Ok(changed)
    }
}

/// Two senders whose snapshots differ.
fn disagreement(versions: &[(String, String)]) -> Option<(&str, &str)> {
    let (first, content) = versions.first()?;
    let (other, _) = versions.iter().find(|(_, other)| body(other) != body(content))?;
    Some((first, other))
}

/// A snapshot without its head, which names the test that wrote it: several may share one.
fn body(snapshot: &str) -> &str {
    snapshot
        .strip_prefix("---\n")
        .and_then(|rest| rest.split_once("\n---\n"))
        .map_or(snapshot, |(_, body)| body)
}

#[cfg(test)]
mod tests {
    use hooklab_vm::TestId;

    use super::*;

    fn send(snapshots: &Snapshots, spec: &str, path: &str, content: &str) {
        let [spec, path, content] = [spec, path, content].map(str::to_owned);
        let test = TestId { binary: "guest".into(), name: "a".into() };
        snapshots.notify(Event::File { spec, test, path, content });
    }

    #[test]
    fn only_snapshots_in_their_directory_are_taken() {
        for path in [
            "tests/guest/snapshots/../../../.bashrc.snap",
            "/etc/cron.d/x.snap",
            "tests/guest/snapshots/x.rs",
            "tests/guest/x.snap",
            "tests/guest/snapshots/deeper/x.snap",
            "tests/guest/snapshots/./x.snap.new/../../y.snap",
            "tests/guest/snapshots/\u{1b}[2J.snap",
            "tests/guest/snapshots/.snap",
            "tests/guest/snapshots/.git.snap",
            "tests/guest/snapshots//x.snap\0",
        ] {
            assert_eq!(trusted(path), None, "{path}");
        }
        assert!(trusted("tests/guest/snapshots/x.snap.new").is_some());
    }

    #[test]
    fn what_would_steer_a_terminal_or_accept_itself_is_not_taken() {
        let root = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(false);
        send(&snapshots, "6.12", "tests/guest/snapshots/clean.snap.new", "\tall is\nwell\n");
        send(&snapshots, "6.12", "tests/guest/snapshots/dirty.snap.new", "all is \u{1b}]0;well\u{7}\n");
        send(&snapshots, "6.12", "tests/guest/snapshots/clean.snap", "accepted");
        assert_eq!(snapshots.store(root.path()).unwrap(), 1);
        let directory = fs::read_dir(root.path().join(SNAPSHOTS)).unwrap();
        let names: Vec<_> = directory.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["clean.snap.new"]);
    }

    #[test]
    fn kernels_that_disagree_accept_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = "tests/guest/snapshots/filtered.snap";
        let snapshots = Snapshots::new(true);
        send(&snapshots, "6.12", path, "---\nsource: a.rs\n---\none");
        send(&snapshots, "7.3", path, "---\nsource: b.rs\n---\none");
        assert_eq!(snapshots.store(root.path()).unwrap(), 1);
        assert!(fs::read_to_string(root.path().join(path)).unwrap().ends_with("one"));
        assert_eq!(snapshots.store(root.path()).unwrap(), 0, "nothing has changed");
        send(&snapshots, "5.10", path, "---\nsource: a.rs\n---\ntwo");
        let refused = snapshots.store(root.path()).unwrap_err().to_string();
        assert!(refused.contains("one is on 6.12, another on 5.10"), "{refused}");
    }
}
