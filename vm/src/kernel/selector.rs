//! Kernel selectors: what a user writes after `--kernel`. One kernel by its spec, or several of `kernels.toml` by a word
//! or a range.

use std::fmt;
use std::str::FromStr;

use semver::{Prerelease, Version, VersionReq};

use super::catalog::Catalog;
use super::error::Error;
use super::lock::Lock;
use super::spec::{ParseSpecError, Series, Spec};

/// What a user can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// One kernel.
    One(Spec),
    /// Every long-term series: `lts`.
    LongTerm,
    /// The newest series: `newest`.
    Newest,
    /// Every kernel whose version is in a range: `>=6.1, <7`.
    Range(VersionReq),
}

/// A text that selects no kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSelectorError {
    /// It is no spec.
    #[error(
        "failed to understand the kernel `{0}`: give a series (6.12), a release (6.12.117), `lts`, `newest`, `rc`, a range \
         (\">=6.1, <7\"), the path of a vmlinuz, a bzImage or a .deb, a kernel build tree, or `host`"
    )]
    Spec(String),
    /// It looks like a range and is none.
    #[error("failed to understand the range of kernels `{range}`: {reason}; write it like \">=6.1, <7\"")]
    Range {
        /// The text.
        range: String,
        /// What is wrong.
        reason: String,
    },
}

impl From<ParseSpecError> for ParseSelectorError {
    fn from(error: ParseSpecError) -> Self {
        ParseSelectorError::Spec(error.spec)
    }
}

impl FromStr for Selector {
    type Err = ParseSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "lts" => Ok(Selector::LongTerm),
            "newest" => Ok(Selector::Newest),
            // Releases hold a `~` too, after a digit; paths that begin with one go on with a slash.
            _ if text.starts_with(['<', '>', '=', '^', '~', '*']) && !text.contains('/') => {
                let malformed = |error: semver::Error| ParseSelectorError::Range {
                    range: text.to_owned(),
                    reason: error.to_string(),
                };
                VersionReq::parse(text).map(Selector::Range).map_err(malformed)
            }
            _ => Ok(Selector::One(text.parse()?)),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selector::One(spec) => spec.fmt(f),
            Selector::LongTerm => f.write_str("lts"),
            Selector::Newest => f.write_str("newest"),
            Selector::Range(range) => range.fmt(f),
        }
    }
}

impl Selector {
    /// The kernels that are meant, in the catalog's order. A range goes by the pinned versions; as everywhere in semantic
    /// versioning, a candidate is in it only where it names one (`>=7.3.0-rc1`).
    ///
    /// # Errors
    /// No kernel is in the range, or the catalog has none that the word means.
    pub(super) fn select(&self, catalog: &Catalog, lock: &Lock) -> Result<Vec<Spec>, Error> {
        let series = || catalog.series.iter();
        let selected: Vec<Spec> = match self {
            Selector::One(spec) => return Ok(vec![spec.clone()]),
            Selector::LongTerm => {
                series().filter(|series| series.lts).map(|series| Spec::Series(series.name)).collect()
            }
            Selector::Newest => {
                series().map(|series| series.name).max().map(Spec::Series).into_iter().collect()
            }
            Selector::Range(range) => {
                let mut all = catalog.specs();
                all.retain(|spec| version(spec, lock).is_some_and(|version| range.matches(&version)));
                all
            }
        };
        if selected.is_empty() {
            // Each kernel with its version.
            let described = |spec: &Spec| {
                version(spec, lock).map_or_else(|| spec.to_string(), |version| version.to_string())
            };
            let known = catalog.specs().iter().map(described).collect();
            return Err(Error::NoneSelected { selector: self.to_string(), known });
        }
        Ok(selected)
    }

    /// The same for several, each kernel once.
    ///
    /// # Errors
    /// One of them selects nothing.
    pub(super) fn select_all(selectors: &[Self], catalog: &Catalog, lock: &Lock) -> Result<Vec<Spec>, Error> {
        let mut selected = Vec::new();
        for selector in selectors {
            let more = selector.select(catalog, lock)?;
            selected.extend(more.into_iter().filter(|spec| !selected.contains(spec)).collect::<Vec<_>>());
        }
        Ok(selected)
    }
}

/// The upstream version of a kernel: the pinned one, or the first of its series.
fn version(spec: &Spec, lock: &Lock) -> Option<Version> {
    match lock.find(spec) {
        Some(pin) => upstream_version(&pin.version),
        None => spec.series().and_then(|series| upstream_version(&series.to_string())),
    }
}

/// The upstream version in one of Debian's, with a third number where there is none: 6.12.117 of `6.12.117-1`, 7.3.0-rc7
/// of `7.3~rc7-1~exp1`.
fn upstream_version(text: &str) -> Option<Version> {
    let (Series { major, minor }, rest) = Series::split(text)?;
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let patch = rest.strip_prefix('.').and_then(|rest| digits(rest).parse().ok()).unwrap_or(0);
    let mut version = Version::new(major.into(), minor.into(), patch);
    if let Some(number) = rest.strip_prefix("~rc") {
        version.pre = Prerelease::new(&format!("rc{}", digits(number))).ok()?;
    }
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Selector, ParseSelectorError> {
        text.parse()
    }

    #[test]
    fn words_and_ranges_are_told_from_specs() {
        assert_eq!(parse("lts"), Ok(Selector::LongTerm));
        assert_eq!(parse("newest"), Ok(Selector::Newest));
        for range in [">=6.1, <7", "~6.12", "^6", "=6.12", "*", "<6.12.100"] {
            assert_eq!(parse(range).unwrap().to_string(), range);
            assert!(matches!(parse(range), Ok(Selector::Range(_))), "{range}");
        }
        for spec in ["6.12", "6.12.117-1~bpo12+1", "rc", "host", "./lts", "~/linux", "=/x"] {
            assert_eq!(parse(spec), Ok(Selector::One(spec.parse().unwrap())), "{spec}");
        }
    }

    #[test]
    fn what_is_neither_is_refused_with_a_reason() {
        let message = parse(">=6.1 <7").unwrap_err().to_string();
        assert!(message.contains("`>=6.1 <7`: expected comma"), "{message}");
        let message = parse("no kernel!").unwrap_err().to_string();
        assert!(
            message.starts_with("failed to understand the kernel `no kernel!`: give a series"),
            "{message}"
        );
    }

    #[test]
    fn a_kernel_has_the_version_of_its_source() {
        let version = |text| upstream_version(text).unwrap().to_string();
        assert_eq!(version("5.10.262-1"), "5.10.262");
        assert_eq!(version("6.16.12-1~bpo13+1"), "6.16.12");
        assert_eq!(version("7.3~rc7-1~exp1"), "7.3.0-rc7");
        assert_eq!(version("6.19"), "6.19.0");
    }
}
