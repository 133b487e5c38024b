//! The suites to look in.

use super::package::Archive;

/// Suites of Debian's archives.
#[derive(Debug, Clone, Default)]
pub struct Suites {
    /// Suites of the main archive.
    pub main: Vec<String>,
    /// Suites of the security archive.
    pub security: Vec<String>,
    /// Suites of the main archive whose indexes expire within days, the least preferred of all.
    pub rolling: Vec<String>,
}

impl Suites {
    /// All suites, each with its archive, the preferred ones first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Archive)> {
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
