//! What Debian's indexes say about some packages, boiled down to a small file that the next run reads at once.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::apt::{Apt, LeftOut, Update};
use super::error::Error;
use super::package::{Archive, Package};
use super::suites::Suites;
use super::trouble::Trouble;
use crate::host::write_whole;

/// How long a boiled-down index serves; Debian's archives change at most four times a day.
const FRESH: Duration = Duration::from_secs(6 * 60 * 60);

/// The packages that an index is to have.
pub(crate) struct Wanted {
    /// What they are called together; names a file.
    pub(crate) name: &'static str,
    /// What all their names begin with.
    pub(crate) prefix: &'static str,
    /// Whether a name with that prefix is one of theirs.
    pub(crate) is_wanted: fn(&str) -> bool,
}

/// The wanted packages of all suites.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Index {
    /// What it was made from; another one does not fit.
    pub(crate) sources: Vec<String>,
    /// The packages, those of preferred suites first.
    pub(crate) entries: Vec<Entry>,
    /// Suites that could not be used.
    pub(crate) left_out: Vec<LeftOut>,
}

/// A package and what it depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) package: Package,
    /// The names in its `Depends`, without versions and architectures; of alternatives the first.
    pub(crate) depends: Vec<String>,
}

impl Index {
    /// Reads what apt has after an update; keeps the result in `file`.
    pub(super) fn read(
        apt: &Apt,
        update: Update,
        suites: &Suites,
        wanted: &Wanted,
        sources: Vec<String>,
        file: &Path,
    ) -> Result<Self, Error> {
        let mut entries = Vec::new();
        for (suite, archive) in suites.iter() {
            let Some((_, index)) = update.indexes.iter().find(|(name, _)| name == suite) else { continue };
            let mut stanzas = Stanzas::new(suite, archive, wanted);
            apt.read_index(index, |line| entries.extend(stanzas.line(line)))?;
            entries.extend(stanzas.line(b""));
        }
        let index = Index { sources, entries, left_out: update.left_out };
        let text = serde_json::to_string(&index)
            .map_err(|error| Error::Malformed { path: file.to_owned(), source: error.into() })?;
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
        self.left_out.iter().any(|left_out| left_out.suite == suite)
    }

    /// The suites whose indexes have expired.
    pub(crate) fn expired(&self) -> impl Iterator<Item = &str> {
        self.left_out.iter().filter(|left_out| left_out.age().is_some()).map(|left_out| &left_out.suite[..])
    }

    /// What a person should know about the suites that are left out: one sentence for those that expired together,
    /// which a mirror that stands still causes, and one for each other.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(age) = self.left_out.iter().find_map(LeftOut::age) {
            let suites: Vec<&str> = self.expired().collect();
            warnings.push(format!(
                "left out, since the mirror's index of them has expired ({age}): {}",
                suites.join(", ")
            ));
        }
        for LeftOut { suite, trouble } in self.left_out.iter().filter(|left_out| left_out.age().is_none()) {
            warnings.push(match trouble {
                Some(trouble) => format!("the suite {suite} is left out: {trouble}"),
                None => format!("the suite {suite} is left out: it has no index of packages"),
            });
        }
        warnings
    }
}

impl LeftOut {
    /// How long its index has expired, if that is why.
    fn age(&self) -> Option<&str> {
        match &self.trouble {
            Some(Trouble::Expired { age }) => Some(age),
            _ => None,
        }
    }
}

/// Takes the lines of an index and gives the wanted packages in it.
struct Stanzas<'a> {
    suite: &'a str,
    archive: Archive,
    wanted: &'a Wanted,
    is_wanted: bool,
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
    fn new(suite: &'a str, archive: Archive, wanted: &'a Wanted) -> Self {
        Stanzas { suite, archive, wanted, is_wanted: false, fields: Fields::default() }
    }

    /// Takes the next line; gives a package when the line is the empty one after it.
    fn line(&mut self, line: &[u8]) -> Option<Entry> {
        if line.is_empty() {
            let fields = std::mem::take(&mut self.fields);
            return std::mem::take(&mut self.is_wanted).then(|| self.entry(fields)).flatten();
        }
        // Nearly all stanzas are other packages': `Package` is their first field, and the rest is skipped. There are
        // millions of lines, so the ones to skip are not even decoded.
        if let Some(name) = line.strip_prefix(b"Package: ") {
            if name.starts_with(self.wanted.prefix.as_bytes()) {
                self.fields.name = String::from_utf8_lossy(name).into_owned();
                self.is_wanted = (self.wanted.is_wanted)(&self.fields.name);
            }
        } else if self.is_wanted {
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
    fn only_wanted_packages_are_kept_with_all_that_matters() {
        let is_wanted = |name: &str| name.starts_with("linux-") && name.ends_with("-amd64");
        let wanted = Wanted { name: "kernels", prefix: "linux-", is_wanted };
        let mut stanzas = Stanzas::new("trixie-backports", Archive::Main, &wanted);
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
    fn expired_suites_share_one_warning() {
        let expired = Trouble::Expired { age: "invalid since 16d 2h".into() };
        let other = Trouble::Other("GPG error".into());
        let left_out =
            [("forky", Some(&expired)), ("sid", Some(&expired)), ("trixie", Some(&other)), ("x", None)];
        let left_out = left_out
            .map(|(suite, trouble)| LeftOut { suite: suite.to_owned(), trouble: trouble.cloned() })
            .to_vec();
        let index = Index { left_out, ..Index::default() };
        assert_eq!(
            index.warnings(),
            [
                "left out, since the mirror's index of them has expired (invalid since 16d 2h): forky, sid",
                "the suite trixie is left out: GPG error",
                "the suite x is left out: it has no index of packages",
            ]
        );
        assert_eq!(index.expired().collect::<Vec<_>>(), ["forky", "sid"]);
    }

    #[test]
    fn an_old_or_foreign_index_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("index.json");
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
