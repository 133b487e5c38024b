//! `kernels.toml`: the series that the lab supports, and the Debian suites to look in.

use serde::Deserialize;

use super::document::Document;
use super::error::Error;
use super::spec::{Series, Spec};
use crate::debian::Suites;
use crate::host::FileError;

/// The content of `kernels.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// The supported series, in the file's order.
    pub series: Vec<Supported>,
    /// Whether the newest release candidate is supported as well, as `rc`.
    #[serde(default)]
    pub rc: bool,
    /// Where Debian keeps them.
    pub debian: Debian,
}

/// A series that the lab supports.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supported {
    /// The series.
    pub name: Series,
    /// Whether kernel.org maintains it for years.
    #[serde(default)]
    pub lts: bool,
    /// Whether it is used where none is named.
    #[serde(default)]
    pub default: bool,
}

/// Where Debian keeps kernels.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "DebianTable")]
pub struct Debian {
    /// Flavours that will do, the preferred one first (`cloud-amd64`).
    pub flavours: Vec<String>,
    /// The suites to look in.
    pub suites: Suites,
}

/// The same, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DebianTable {
    flavours: Vec<String>,
    main: Vec<String>,
    security: Vec<String>,
    #[serde(default)]
    rolling: Vec<String>,
}

impl From<DebianTable> for Debian {
    fn from(DebianTable { flavours, main, security, rolling }: DebianTable) -> Self {
        Debian { flavours, suites: Suites { main, security, rolling } }
    }
}

/// What a catalog can get wrong.
#[derive(Debug, thiserror::Error)]
enum Mistake {
    #[error("series {0} is there twice")]
    Twice(Series),
    #[error("`{0}` is no name of a suite or flavour")]
    NoName(String),
}

impl Catalog {
    /// Reads a catalog.
    ///
    /// # Errors
    /// The file is not there or cannot be understood.
    pub fn read(document: &Document) -> Result<Self, Error> {
        let path = document.path();
        let missing = || FileError::of("read", path)(std::io::ErrorKind::NotFound.into());
        let text = document.read()?.ok_or_else(missing)?;
        let malformed = |source| Error::MalformedCatalog { path: path.to_owned(), source };
        let catalog: Catalog = toml::from_str(&text).map_err(|error| malformed(error.into()))?;
        catalog.check().map_err(|mistake| malformed(mistake.into()))?;
        Ok(catalog)
    }

    fn check(&self) -> Result<(), Mistake> {
        for (index, series) in self.series.iter().enumerate() {
            if self.series[..index].iter().any(|earlier| earlier.name == series.name) {
                return Err(Mistake::Twice(series.name));
            }
        }
        let suites = self.debian.suites.iter().map(|(suite, _)| suite);
        // Suites and flavours become parts of apt's sources and of package names.
        for word in suites.chain(self.debian.flavours.iter().map(String::as_str)) {
            if word.is_empty() || !word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                return Err(Mistake::NoName(word.to_owned()));
            }
        }
        Ok(())
    }

    /// The series that a spec belongs to, if it is a supported one.
    pub(super) fn series_of(&self, spec: &Spec) -> Option<&Supported> {
        self.series.iter().find(|series| Some(series.name) == spec.series())
    }

    /// The error of a spec that names nothing.
    pub(super) fn unknown(&self, spec: &Spec) -> Error {
        let known = self.specs().iter().map(Spec::to_string).collect();
        Error::UnknownSpec { spec: spec.to_string(), known }
    }

    /// The specs that exist by name.
    pub fn specs(&self) -> Vec<Spec> {
        let series = self.series.iter().map(|series| Spec::Series(series.name));
        series.chain(self.rc.then_some(Spec::Candidate)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::CATALOG;

    fn read(text: &str) -> Result<Catalog, Error> {
        Catalog::read(&Document::Text { path: "kernels.toml".into(), text: text.to_owned() })
    }

    /// What is wrong with it.
    fn message(text: &str) -> String {
        std::error::Error::source(&read(text).unwrap_err()).unwrap().to_string()
    }

    const DEBIAN: &str =
        "[debian]\nflavours = ['cloud-amd64']\nmain = ['trixie']\nsecurity = ['trixie-security']\n";

    #[test]
    fn the_repository_s_own_file_is_sound() {
        let catalog = read(CATALOG).unwrap();
        let defaults: Vec<_> = catalog.series.iter().filter(|series| series.default).collect();
        assert!(defaults.iter().any(|series| series.lts), "no LTS series by default");
        assert_eq!(
            catalog.series.last().map(|series| series.name),
            defaults.last().map(|series| series.name),
            "the newest is no default"
        );
    }

    #[test]
    fn mistakes_are_named() {
        let twice = format!("series = [{{ name = '6.1' }}, {{ name = '6.1' }}]\n{DEBIAN}");
        assert!(message(&twice).contains("6.1 is there twice"));
        let typo = format!("series = [{{ name = '6.1', lst = true }}]\n{DEBIAN}");
        assert!(message(&typo).contains("lst"));
        let number = format!("series = [{{ name = 'six' }}]\n{DEBIAN}");
        assert!(message(&number).contains("`six`"));
        let suite = format!("series = [{{ name = '6.1' }}]\n{}", DEBIAN.replace("'trixie'", "\"a\\nb\""));
        assert!(read(&suite).is_err());
    }
}
