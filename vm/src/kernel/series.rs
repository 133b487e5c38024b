//! `kernels.toml`: the series that the lab supports, and the Debian suites to look in.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::spec::{Series, Spec};

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
    /// Whether a plain `vm-test` runs it.
    #[serde(default)]
    pub default: bool,
}

/// Where Debian keeps kernels.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    /// Flavours that will do, the preferred one first (`cloud-amd64`).
    pub flavours: Vec<String>,
    /// Suites of the main archive.
    pub main: Vec<String>,
    /// Suites of the security archive.
    pub security: Vec<String>,
    /// Suites of the main archive whose indexes expire within days, the least preferred of all.
    #[serde(default)]
    pub rolling: Vec<String>,
}

/// One of Debian's two archives; each has its own place on the net.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Archive {
    /// Releases, backports, testing, unstable.
    Main,
    /// Security updates of releases.
    Security,
}

impl Catalog {
    /// Reads `kernels.toml`.
    ///
    /// # Errors
    /// The file is not there or cannot be understood.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let malformed = |reason: String| Error::Malformed { path: path.to_owned(), reason };
        let catalog: Catalog = toml::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        for (index, series) in catalog.series.iter().enumerate() {
            if catalog.series[..index].iter().any(|earlier| earlier.name == series.name) {
                return Err(malformed(format!("series {} is there twice", series.name)));
            }
        }
        let suites = catalog.debian.suites().map(|(suite, _)| suite);
        // Suites and flavours become parts of apt's sources and of package names.
        for word in suites.chain(catalog.debian.flavours.iter().map(String::as_str)) {
            if word.is_empty() || !word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                return Err(malformed(format!("`{word}` is no name of a suite or flavour")));
            }
        }
        Ok(catalog)
    }

    /// The specs that exist by name.
    pub fn specs(&self) -> Vec<Spec> {
        let series = self.series.iter().map(|series| Spec::Series(series.name));
        series.chain(self.rc.then_some(Spec::Candidate)).collect()
    }
}

impl Debian {
    /// All suites, each with its archive, the preferred ones first.
    pub fn suites(&self) -> impl Iterator<Item = (&str, Archive)> {
        let groups = [
            (&self.main, Archive::Main),
            (&self.security, Archive::Security),
            (&self.rolling, Archive::Main),
        ];
        groups
            .into_iter()
            .flat_map(|(suites, archive)| suites.iter().map(move |suite| (suite.as_str(), archive)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Catalog, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernels.toml");
        fs::write(&path, text).unwrap();
        Catalog::read(&path)
    }

    const DEBIAN: &str =
        "[debian]\nflavours = ['cloud-amd64']\nmain = ['trixie']\nsecurity = ['trixie-security']\n";

    #[test]
    fn the_repository_s_own_file_is_sound() {
        let path = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("kernels.toml");
        let catalog = Catalog::read(&path).unwrap();
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
        assert!(read(&twice).unwrap_err().to_string().contains("6.1 is there twice"));
        let typo = format!("series = [{{ name = '6.1', lst = true }}]\n{DEBIAN}");
        assert!(read(&typo).unwrap_err().to_string().contains("lst"));
        let number = format!("series = [{{ name = 'six' }}]\n{DEBIAN}");
        assert!(read(&number).unwrap_err().to_string().contains("`six`"));
        let suite = format!("series = [{{ name = '6.1' }}]\n{}", DEBIAN.replace("'trixie'", "\"a\\nb\""));
        assert!(read(&suite).is_err());
    }
}
