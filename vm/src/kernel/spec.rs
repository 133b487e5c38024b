//! Kernel specs: the names of single kernels.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A series of kernel releases, such as 6.12. Ordered by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Series {
    /// The 6 of 6.12.
    pub major: u32,
    /// The 12 of 6.12.
    pub minor: u32,
}

impl Series {
    /// Reads the series at the start of a release or version (`6.12` of `6.12.117-1`), and gives what follows it.
    pub(crate) fn split(text: &str) -> Option<(Series, &str)> {
        let (major, rest) = split_number(text)?;
        let (minor, rest) = split_number(rest.strip_prefix('.')?)?;
        Some((Series { major, minor }, rest))
    }
}

/// Reads the decimal number at the start of `text`, and gives what follows it.
fn split_number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl From<Series> for String {
    fn from(series: Series) -> Self {
        series.to_string()
    }
}

impl TryFrom<String> for Series {
    type Error = ParseSpecError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match Series::split(&text) {
            Some((series, "")) => Ok(series),
            _ => Err(ParseSpecError { spec: text }),
        }
    }
}

/// One kernel, by the name that a user gives it. Words and ranges that mean several are [`super::Selector`]s.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Spec {
    /// The kernel that the lab pins for a series: `6.12`.
    Series(Series),
    /// One release or source version: `6.12.117`, `5.10.0-46-cloud-amd64`.
    Release(String),
    /// The newest release candidate: `rc`.
    Candidate,
    /// A kernel image, or the directory that one was built in.
    Path(PathBuf),
    /// The running kernel; nothing is booted.
    Host,
}

impl Spec {
    /// The series that a spec names or belongs to; none for paths and the host.
    pub fn series(&self) -> Option<Series> {
        match self {
            Spec::Series(series) => Some(*series),
            Spec::Release(release) => Series::split(release).map(|(series, _)| series),
            Spec::Candidate | Spec::Path(_) | Spec::Host => None,
        }
    }

    /// Whether a kernel of this release (`uname -r`) and source version is what the spec asks for.
    pub(crate) fn matches(&self, release: &str, version: &str) -> bool {
        match self {
            // A series means its stable releases: who wants a candidate says so.
            Spec::Series(series) => {
                let same = Series::split(release).is_some_and(|(found, _)| found == *series);
                same && !is_candidate(release, version)
            }
            Spec::Candidate => is_candidate(release, version),
            Spec::Release(wanted) => {
                // Debian writes `7.3~rc7`, which sorts before `7.3`; people write `7.3-rc7`.
                let plain = version.replacen("~rc", "-rc", 1);
                [release, version, &plain].iter().any(|name| is_prefix(wanted, name))
            }
            Spec::Path(_) | Spec::Host => false,
        }
    }
}

/// Whether a kernel is a release candidate: by its release, or by Debian's version of it, since packages of candidates
/// may be called like those of the stable release (`7.3-cloud-amd64` of `7.3~rc7-1~exp1`).
fn is_candidate(release: &str, version: &str) -> bool {
    let is_marked =
        |text: &str, mark: &str| Series::split(text).is_some_and(|(_, rest)| rest.starts_with(mark));
    is_marked(release, "-rc") || is_marked(version, "~rc")
}

/// Whether `full` is `wanted` and perhaps a suffix: `6.12.11` is a prefix of `6.12.11+deb13`, and not of `6.12.117`.
fn is_prefix(wanted: &str, full: &str) -> bool {
    full.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', '-', '~']))
}

/// Whether `rest`, which follows a series, makes a release of it: `.117`, `.0-46-cloud-amd64`, `-rc7`.
fn is_release_tail(rest: &str) -> bool {
    let rest = match rest.strip_prefix('.') {
        Some(patch) => match split_number(patch) {
            Some((_, rest)) => rest,
            None => return false,
        },
        None => rest,
    };
    rest.is_empty()
        || rest.starts_with(['+', '-', '~'])
            && rest.len() > 1
            && rest.chars().all(|c| c.is_ascii_alphanumeric() || "+-~.".contains(c))
}

impl FromStr for Spec {
    type Err = ParseSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "host" {
            return Ok(Spec::Host);
        }
        if text == "rc" {
            return Ok(Spec::Candidate);
        }
        match Series::split(text) {
            Some((series, "")) => return Ok(Spec::Series(series)),
            Some((_, rest)) if is_release_tail(rest) => return Ok(Spec::Release(text.to_owned())),
            _ => {}
        }
        let is_path = text.contains('/') || text.starts_with('.') || Path::new(text).exists();
        if is_path && !text.is_empty() {
            return Ok(Spec::Path(PathBuf::from(text)));
        }
        Err(ParseSpecError { spec: text.to_owned() })
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spec::Series(series) => series.fmt(f),
            Spec::Release(release) => f.write_str(release),
            Spec::Path(path) => path.display().fmt(f),
            Spec::Candidate => f.write_str("rc"),
            Spec::Host => f.write_str("host"),
        }
    }
}

/// A text that names no kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to understand the kernel `{spec}`")]
pub struct ParseSpecError {
    /// The text.
    pub spec: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Spec, ParseSpecError> {
        text.parse()
    }

    #[test]
    fn each_kind_is_told_from_the_others() {
        assert_eq!(parse("6.12"), Ok(Spec::Series(Series { major: 6, minor: 12 })));
        for release in [
            "6.12.117",
            "6.12.117+deb13-cloud-amd64",
            "7.3-rc7",
            "5.10.0-46-cloud-amd64",
            "6.1.0-0.deb11.52-cloud-amd64",
            "6.12.117-1~bpo12+1",
        ] {
            assert_eq!(parse(release), Ok(Spec::Release(release.to_owned())));
        }
        for path in ["./6.12", "/boot/vmlinuz", "build/bzImage", ".."] {
            assert_eq!(parse(path), Ok(Spec::Path(path.into())));
        }
        assert_eq!(parse("host"), Ok(Spec::Host));
    }

    #[test]
    fn what_names_no_kernel_is_refused() {
        for text in
            ["no kernel!", "", "6", "6.", "6.12.", "6.12.x", "6.12-", "v6.12", "6.12.117 ", "99999999999.1"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse("no kernel!").unwrap_err().to_string().contains("`no kernel!`"));
    }

    #[test]
    fn display_is_what_was_parsed() {
        for text in ["6.12", "6.12.117", "/boot/vmlinuz", "host"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_release_matches_by_release_or_source_version_but_not_by_half_a_number() {
        let matches =
            |spec: &str, release: &str, version: &str| parse(spec).unwrap().matches(release, version);
        assert!(matches("6.12.117", "6.12.117+deb13-cloud-amd64", "6.12.117-1"));
        assert!(matches("5.10.262", "5.10.0-46-cloud-amd64", "5.10.262-1"));
        assert!(matches("5.10.0-46-cloud-amd64", "5.10.0-46-cloud-amd64", "5.10.262-1"));
        assert!(!matches("6.12.11", "6.12.117+deb13-cloud-amd64", "6.12.117-1"));
        assert!(matches("rc", "7.3-cloud-amd64", "7.3~rc7-1~exp1"));
        assert!(matches("7.3-rc7", "7.3-cloud-amd64", "7.3~rc7-1~exp1"));
        assert!(!matches("7.3", "7.3-cloud-amd64", "7.3~rc7-1~exp1"));
        assert!(!matches("rc", "7.3.4-cloud-amd64", "7.3.4-1"));
        assert!(matches("6.1", "6.1.0-56-cloud-amd64", "6.1.192-2"));
        assert!(!matches("6.1", "6.12.117+deb13-cloud-amd64", "6.12.117-1"));
    }

    #[test]
    fn series_are_ordered_by_number() {
        let series = |text: &str| Series::try_from(text.to_owned()).unwrap();
        assert!(
            series("5.10") < series("6.1")
                && series("6.1") < series("6.12")
                && series("6.2") < series("6.12")
        );
    }
}
