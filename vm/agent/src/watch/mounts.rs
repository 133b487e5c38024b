//! Mounts in the initial mount namespace, which also keep alive network namespaces without processes.

use std::fs::{self, File};
use std::os::fd::AsFd;

use nix::mount::{MntFlags, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Watcher;

const TABLE: &str = "/proc/self/mountinfo";

/// The second mount point of tracefs (kernel documentation, `trace/ftrace.rst`).
const AUTOMOUNT: &str = "/sys/kernel/debug/tracing";

/// The mount table, and a descriptor on which the kernel signals changes to it (proc(5), "mounts").
pub(super) struct Mounts {
    changes: Option<File>,
    before: Vec<Mount>,
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    id: String,
    target: String,
    kind: String,
}

impl Mounts {
    pub(super) fn now() -> Self {
        // The first access makes the kernel mount tracefs there.
        let _ = fs::read_dir(AUTOMOUNT);
        Self { changes: File::open(TABLE).ok(), before: table() }
    }

    /// Whether the table may have changed since the last call.
    fn have_changed(&self) -> bool {
        let Some(changes) = &self.changes else { return true };
        let mut ready = [PollFd::new(changes.as_fd(), PollFlags::POLLPRI)];
        // If polling fails, the table is read.
        poll(&mut ready, PollTimeout::ZERO) != Ok(0)
    }
}

impl Watcher for Mounts {
    fn leaks(&mut self) -> Vec<String> {
        if !self.have_changed() {
            return Vec::new();
        }
        let now = table();
        let new = now.iter().filter(|mount| !self.before.contains(mount));
        let missing = self.before.iter().filter(|mount| !now.contains(mount));
        let new = new.map(|mount| match mount.kind.as_str() {
            "nsfs" => format!("namespace held by {}", mount.target),
            _ => format!("mount of {} on {}", mount.kind, mount.target),
        });
        new.chain(missing.map(|mount| format!("missing mount of {} on {}", mount.kind, mount.target)))
            .collect()
    }

    fn remove(&mut self) {
        let now = table();
        for mount in now.iter().rev().filter(|mount| !self.before.contains(mount)) {
            let _ = umount2(mount.target.as_str(), MntFlags::MNT_DETACH);
        }
        // Without the descriptor, the next check reads the table again.
        self.changes = None;
        if table() == self.before {
            self.changes = File::open(TABLE).ok();
        }
    }
}

fn table() -> Vec<Mount> {
    fs::read_to_string(TABLE).unwrap_or_default().lines().filter_map(parse).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`, with spaces in names as `\040` (proc(5)).
fn parse(line: &str) -> Option<Mount> {
    let (place, what) = line.split_once(" - ")?;
    let mut words = place.split(' ');
    let (id, target) = (words.next()?, words.nth(3)?);
    let kind = what.split(' ').next()?;
    Some(Mount { id: id.into(), target: unescape(target), kind: kind.into() })
}

/// Replaces each backslash with three octal digits by the byte that they stand for.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_parsed() {
        let mount =
            parse(r"36 35 0:22 / /tmp/a\040b\134c rw,noatime master:1 shared:2 - tmpfs none rw").unwrap();
        let [id, target, kind] = ["36", r"/tmp/a b\c", "tmpfs"].map(str::to_owned);
        assert_eq!(mount, Mount { id, target, kind });
    }

    #[test]
    fn an_unchanged_table_has_no_leaks() {
        assert_eq!(Mounts::now().leaks(), [""; 0]);
    }
}
