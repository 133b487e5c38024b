//! What Debian's indexes say about kernels, boiled down to a small file that the next run reads at once.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::debian::apt::Apt;
use crate::host::write_whole;
use crate::kernel::catalog::{Archive, Debian};
use crate::kernel::error::Error;
use crate::kernel::lock::Package;

/// How long a boiled-down index serves; Debian's archives change at most four times a day.
const FRESH: Duration = Duration::from_secs(6 * 60 * 60);

/// The kernel packages of all suites.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Index {
    /// What it was made from; another one does not fit.
    pub(crate) sources: Vec<String>,
    /// The packages, those of preferred suites first.
    pub(crate) entries: Vec<Entry>,
    /// Suites that could not be used, each with the reason.
    pub(crate) left_out: Vec<(String, String)>,
}

/// A package and what it depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) package: Package,
    /// The names in its `Depends`, without versions and architectures; of alternatives the first.
    pub(crate) depends: Vec<String>,
}

impl Index {
    /// Updates `apt` and reads what it has; keeps the result in `file`.
    pub(crate) fn update(
        apt: &Apt,
        debian: &Debian,
        accept_expired: bool,
        sources: Vec<String>,
        file: &Path,
    ) -> Result<Self, Error> {
        let update = apt.update(debian, accept_expired)?;
        let mut entries = Vec::new();
        for (suite, archive) in debian.suites() {
            let Some((_, index)) = update.indexes.iter().find(|(name, _)| name == suite) else { continue };
            let mut stanzas = Stanzas::new(suite, archive);
            apt.read_index(index, |line| entries.extend(stanzas.line(line)))?;
            entries.extend(stanzas.line(b""));
        }
        let index = Index { sources, entries, left_out: update.left_out };
        let text = serde_json::to_string(&index)
            .map_err(|error| Error::Malformed { path: file.to_owned(), reason: error.to_string() })?;
        write_whole(file, text.as_bytes())?;
        Ok(index)
    }

    /// The index that an earlier run kept, if it is fresh and made from the same sources.
    pub(crate) fn read_fresh(file: &Path, sources: &[String]) -> Option<Self> {
        let modified = fs::metadata(file).and_then(|data| data.modified()).ok()?;
        // A time in the future is a clock that was set back: do not believe it.
        let age = SystemTime::now().duration_since(modified).ok()?;
        let index: Index = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
        (age < FRESH && index.sources == sources).then_some(index)
    }

    /// Whether all suites could be used.
    pub(crate) fn is_complete(&self) -> bool {
        self.left_out.is_empty()
    }

    /// Whether a package is offered, wherever.
    pub(crate) fn has(&self, package: &Package) -> bool {
        self.entries.iter().any(|entry| entry.package.sha256 == package.sha256)
    }

    /// Whether a suite is among those that could not be used.
    pub(crate) fn lacks_suite(&self, suite: &str) -> bool {
        self.left_out.iter().any(|(name, _)| name == suite)
    }

    /// What a person should know about the suites that are left out: one sentence for those that expired together,
    /// which a mirror that stands still causes, and one for each other. The `rolling` ones can be had all the same.
    pub(crate) fn warnings(&self, rolling: &[String]) -> Vec<String> {
        let (expired, others): (Vec<_>, Vec<_>) =
            self.left_out.iter().partition(|(_, reason)| reason.contains("is expired"));
        let mut warnings = Vec::new();
        if let [(_, reason), ..] = expired[..] {
            let suites: Vec<&str> = expired.iter().map(|(suite, _)| suite.as_str()).collect();
            // apt puts the age in parentheses: `(invalid since 16d 2h 57min 56s)`.
            let age = reason.split(['(', ')']).nth(1).unwrap_or("its date is past");
            let acceptable = suites.iter().any(|suite| rolling.iter().any(|known| known == suite));
            let hint = if acceptable {
                "; `kernels lock --accept-expired` takes rolling suites as they are"
            } else {
                ""
            };
            let suites = suites.join(", ");
            warnings.push(format!(
                "left out, since the mirror's index of them has expired ({age}): {suites}{hint}"
            ));
        }
        let other = |(suite, reason): &(String, String)| format!("the suite {suite} is left out: {reason}");
        warnings.extend(others.into_iter().map(other));
        warnings
    }
}

/// Takes the lines of an index and gives the kernel packages in it.
struct Stanzas<'a> {
    suite: &'a str,
    archive: Archive,
    wanted: bool,
    fields: Fields,
}

/// The fields of one stanza that matter; the format is that of `deb-control(5)`.
#[derive(Default)]
struct Fields {
    name: String,
    version: String,
    depends: String,
    path: String,
    size: u64,
    sha256: String,
}

impl Fields {
    /// Takes a line, if it is one of these fields; of the others some go over several lines.
    fn set(&mut self, line: &str) {
        let Some((field, value)) = line.split_once(": ") else { return };
        match field {
            "Version" => value.clone_into(&mut self.version),
            "Depends" => value.clone_into(&mut self.depends),
            "Filename" => value.clone_into(&mut self.path),
            "Size" => self.size = value.parse().unwrap_or(0),
            "SHA256" => value.clone_into(&mut self.sha256),
            _ => {}
        }
    }
}

impl<'a> Stanzas<'a> {
    fn new(suite: &'a str, archive: Archive) -> Self {
        Stanzas { suite, archive, wanted: false, fields: Fields::default() }
    }

    /// Takes the next line; gives a package when the line is the empty one after it.
    fn line(&mut self, line: &[u8]) -> Option<Entry> {
        if line.is_empty() {
            let fields = std::mem::take(&mut self.fields);
            return std::mem::take(&mut self.wanted).then(|| self.entry(fields)).flatten();
        }
        // Nearly all stanzas are other packages': `Package` is their first field, and the rest is skipped. There are
        // millions of lines, so the ones to skip are not even decoded.
        if let Some(name) = line.strip_prefix(b"Package: linux-") {
            self.fields.name = format!("linux-{}", String::from_utf8_lossy(name));
            self.wanted = is_kernel_package(&self.fields.name);
        } else if self.wanted {
            self.fields.set(&String::from_utf8_lossy(line));
        }
        None
    }

    /// Makes an entry of a stanza; none if it lacks what a download needs.
    fn entry(&self, fields: Fields) -> Option<Entry> {
        let Fields { name, version, depends, path, size, sha256 } = fields;
        if version.is_empty() || path.is_empty() || sha256.is_empty() || size == 0 {
            return None;
        }
        let depends = depends.split(',').filter_map(|term| term.split_whitespace().next());
        let depends = depends.map(str::to_owned).collect();
        let suite = self.suite.to_owned();
        Some(Entry {
            package: Package { name, version, archive: self.archive, suite, path, size, sha256 },
            depends,
        })
    }
}

/// The beginnings of names of packages that make up kernels, before the release.
pub(crate) const PARTS: [&str; 4] = ["linux-image-", "linux-binary-", "linux-base-", "linux-modules-"];

/// Whether a package is a signed kernel or a part of one, by its name.
fn is_kernel_package(name: &str) -> bool {
    let release = PARTS.iter().find_map(|part| name.strip_prefix(part));
    // The flavour ends the name, so debug symbols, unsigned images and templates fall out here.
    release.is_some_and(|release| {
        release.starts_with(|c: char| c.is_ascii_digit()) && release.ends_with("-amd64")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Package: linux-doc
Version: 1
Filename: pool/x
Size: 1
SHA256: 00

Package: linux-image-6.19.14+deb13-cloud-amd64
Source: linux-signed-amd64 (6.19.14+1~bpo13+1)
Version: 6.19.14-1~bpo13+1
Depends: dracut | initramfs-tools (>= 0.120), kmod, linux-binary-6.19.14+deb13-cloud-amd64 (= 6.19.14-1~bpo13+1)
Description: x
 Version: not a field
Filename: pool/main/l/x.deb
Size: 2072
SHA256: aabb

Package: linux-image-6.19.14+deb13-cloud-amd64-dbg
Version: 1
Filename: pool/x
Size: 1
SHA256: 00

Package: linux-binary-6.19.14+deb13-cloud-amd64
Version: 6.19.14-1~bpo13+1
Filename: pool/main/l/y.deb
Size: 7
SHA256: ccdd";

    #[test]
    fn only_parts_of_kernels_are_kept_with_all_that_matters() {
        let mut stanzas = Stanzas::new("trixie-backports", Archive::Main);
        let mut entries: Vec<Entry> = TEXT.lines().filter_map(|line| stanzas.line(line.as_bytes())).collect();
        entries.extend(stanzas.line(b""));
        let names: Vec<&str> = entries.iter().map(|entry| entry.package.name.as_str()).collect();
        assert_eq!(
            names,
            ["linux-image-6.19.14+deb13-cloud-amd64", "linux-binary-6.19.14+deb13-cloud-amd64"]
        );
        assert_eq!(entries[0].depends, ["dracut", "kmod", "linux-binary-6.19.14+deb13-cloud-amd64"]);
        let package = &entries[0].package;
        assert_eq!((package.version.as_str(), package.size), ("6.19.14-1~bpo13+1", 2072));
        assert_eq!((package.path.as_str(), package.sha256.as_str()), ("pool/main/l/x.deb", "aabb"));
        assert_eq!(package.suite, "trixie-backports");
        // Nothing of an earlier stanza leaks into a later one.
        assert!(entries[1].depends.is_empty());
    }

    #[test]
    fn look_alikes_are_passed_over() {
        for name in [
            "linux-image-amd64",
            "linux-image-6.12.117+deb13-cloud-amd64-unsigned",
            "linux-image-6.1-amd64-signed-template",
            "linux-headers-6.12.117+deb13-cloud-amd64",
            "linux-binary-unsigned-7.2.11+deb13-amd64",
            "linux-base",
        ] {
            assert!(!is_kernel_package(name), "{name}");
        }
        assert!(is_kernel_package("linux-base-7.3.4+deb13-cloud-amd64"));
    }

    #[test]
    fn expired_suites_share_one_warning() {
        let expired = "Release file for http://m.example/dists/sid/InRelease is expired (invalid since 16d 2h). No updates.";
        let left_out = [("forky", expired), ("sid", expired), ("trixie", "GPG error")];
        let left_out = left_out.map(|(suite, reason)| (suite.to_owned(), reason.to_owned())).to_vec();
        let index = Index { left_out, ..Index::default() };
        let warnings = index.warnings(&[]);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].ends_with("(invalid since 16d 2h): forky, sid"), "{warnings:?}");
        assert!(index.warnings(&["sid".to_owned()])[0].contains("`kernels lock --accept-expired`"));
        assert_eq!(warnings[1], "the suite trixie is left out: GPG error");
    }

    #[test]
    fn an_old_or_foreign_index_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("index.json");
        let sources = vec!["http://m.example/".to_owned()];
        let index = Index { sources: sources.clone(), ..Index::default() };
        fs::write(&file, serde_json::to_string(&index).unwrap()).unwrap();
        assert!(Index::read_fresh(&file, &sources).is_some());
        assert!(Index::read_fresh(&file, &[]).is_none());
        let old = SystemTime::now() - FRESH;
        fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
        assert!(Index::read_fresh(&file, &sources).is_none());
    }
}
