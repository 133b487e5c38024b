//! What Debian's tools complain of. They have no codes for it: their words, in the C locale, are read here and nowhere
//! else.

use serde::{Deserialize, Serialize};

/// What a tool reported as wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Trouble {
    /// The index is older than it may be.
    #[error("its index has expired ({age})")]
    Expired {
        /// How old it is, in apt's words.
        age: String,
    },
    /// The mirror does not have the file, as against that the mirror cannot be reached.
    #[error("the mirror does not have it")]
    Gone,
    /// The file is not the expected one.
    #[error("it is not the expected file")]
    Mismatch,
    /// The file system is full.
    #[error("{0}")]
    StorageFull(String),
    /// Anything else, in the tool's words.
    #[error("{0}")]
    Other(String),
}

impl Trouble {
    /// What a tool's messages come down to.
    pub(super) fn of(messages: &str) -> Self {
        // In the C library's words.
        let is_full =
            ["No space left on device", "Disk quota exceeded"].iter().any(|text| messages.contains(text));
        let said = summary(messages);
        if is_full { Self::StorageFull(said) } else { Self::Other(said) }
    }

    /// What apt's messages about a download come down to.
    pub(super) fn of_download(messages: &str) -> Self {
        let says = |texts: &[&str]| texts.iter().any(|text| messages.contains(text));
        if says(&["Hash Sum mismatch", "unexpected size"]) {
            Self::Mismatch
        } else if says(&["404  Not Found", "410  Gone", "File not found", "stat (2: No such file"]) {
            // HTTP's 404 and 410; what the methods for local files say.
            Self::Gone
        } else {
            Self::of(messages)
        }
    }

    /// What apt has to say against a suite: the first error or warning that names it.
    pub(super) fn with_suite(messages: &str, suite: &str) -> Option<Self> {
        let names = [format!("/dists/{suite}/"), format!(" {suite} InRelease"), format!(" {suite} Release")];
        messages.lines().find_map(|line| {
            let text = line.strip_prefix("E: ").or_else(|| line.strip_prefix("W: "))?;
            let is_named = names.iter().any(|name| text.contains(name));
            is_named.then(|| match text.contains("is expired") {
                // The age is in parentheses: `(invalid since 16d 2h 57min 56s)`.
                true => {
                    let age = text.split(['(', ')']).nth(1).unwrap_or("its date is past");
                    Self::Expired { age: age.to_owned() }
                }
                false => Self::Other(text.to_owned()),
            })
        })
    }
}

/// The lines of a message that say what went wrong: the last few that are not empty, in one line.
fn summary(messages: &str) -> String {
    let mut lines: Vec<&str> = messages.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // apt says what matters with an `E:`; the rest then is noise.
    if lines.iter().any(|line| line.starts_with("E: ")) {
        lines.retain(|line| line.starts_with("E: "));
    }
    let tail = &lines[lines.len().saturating_sub(3)..];
    let text = |line: &&str| line.trim_start_matches("E: ").trim_start_matches("W: ").to_owned();
    let tail: Vec<String> = tail.iter().map(text).collect();
    if tail.is_empty() { "it said nothing".to_owned() } else { tail.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_told_from_a_missing_network() {
        let is_gone = |messages| Trouble::of_download(messages) == Trouble::Gone;
        assert!(is_gone("E: Failed to fetch http://m.example/x.deb  404  Not Found [IP: 192.0.2.1 80]"));
        assert!(!is_gone("E: Failed to fetch http://m.example/x.deb  Could not resolve 'm.example'"));
        assert!(!is_gone("E: Failed to fetch http://m.example/404.deb  Could not connect"));
    }

    #[test]
    fn a_full_file_system_is_told_from_other_trouble() {
        let text = "Error writing to file - write (28: No space left on device)";
        assert_eq!(Trouble::of(&format!("W: x\nE: {text}\n")), Trouble::StorageFull(text.into()));
    }

    #[test]
    fn only_the_suite_that_is_named_is_at_fault() {
        let messages = "W: Download is performed unsandboxed as root as file '/x_dists_trixie_InRelease'\n\
                        E: Release file for http://m.example/dists/sid/InRelease is expired (invalid since 16d).\n\
                        W: GPG error: http://m.example trixie-backports InRelease: not signed\n\
                        E: The repository 'http://m.example forky Release' does not have a Release file.\n";
        let of = |suite| Trouble::with_suite(messages, suite);
        assert_eq!(of("sid"), Some(Trouble::Expired { age: "invalid since 16d".into() }));
        assert!(of("trixie-backports").unwrap().to_string().contains("not signed"));
        assert!(of("forky").unwrap().to_string().contains("does not have"));
        assert_eq!(of("trixie"), None);
        assert_eq!(of("bookworm"), None);
    }

    #[test]
    fn of_many_messages_the_errors_are_kept() {
        assert_eq!(summary("W: noise\nE: first\nE: second\n"), "first; second");
        assert_eq!(summary("a\n\nW: b\n"), "a; b");
        assert_eq!(summary(""), "it said nothing");
    }
}
