//! What the names of tests say.

use std::fmt;

use hooklab_types::report::Cell;
use hooklab_types::test::TestId;

/// How the names of tests are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// A name says nothing but itself: other people's are never taken apart.
    Plain,
    /// As [`Naming::Plain`], where several binaries have tests: the binary's name comes first.
    OfBinary,
    /// The lab's own: a test that is one loader's ends in a case that rstest names `case_1_LOADER_on_PROGRAM`, or
    /// `case_1_LOADER` where the program is not one of the matrix.
    Cases,
}

/// What the name of a test says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// The binary, where there are several.
    pub binary: Option<String>,
    /// The name without the case.
    pub base: String,
    /// The loader, if the test is one loader's.
    pub loader: Option<String>,
    /// The program, likewise.
    pub program: Option<String>,
}

impl Naming {
    /// Reads a name.
    pub fn read(self, test: &TestId) -> Name {
        let binary = || test.binary.rsplit('/').next().map(str::to_owned);
        match self {
            Naming::Plain => Name::plain(&test.name),
            Naming::OfBinary => Name { binary: binary(), ..Name::plain(&test.name) },
            Naming::Cases => Name::of_case(&test.name),
        }
    }
}

impl Name {
    fn plain(name: &str) -> Self {
        Self { binary: None, base: name.to_owned(), loader: None, program: None }
    }

    fn of_case(name: &str) -> Self {
        let Some((base, case)) = name.rsplit_once("::case_") else { return Self::plain(name) };
        let label = case.trim_start_matches(|character: char| character.is_ascii_digit());
        let Some(label) = label.strip_prefix('_') else { return Self::plain(name) };
        let dashed = |word: &str| Some(word.replace('_', "-"));
        let (loader, program) = match label.split_once("_on_") {
            Some((loader, program)) => (dashed(loader), dashed(program)),
            None => (dashed(label), None),
        };
        Self { binary: None, base: base.to_owned(), loader, program }
    }
}

impl From<&Cell> for Name {
    fn from(cell: &Cell) -> Self {
        Self {
            binary: cell.binary.clone(),
            base: cell.name.clone(),
            loader: cell.loader.clone(),
            program: cell.program.clone(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(binary) = &self.binary {
            write!(f, "{binary} ")?;
        }
        match (&self.loader, &self.program) {
            (Some(loader), Some(program)) => write!(f, "{} [{loader} {program}]", self.base),
            (Some(loader), None) => write!(f, "{} [{loader}]", self.base),
            _ => f.write_str(&self.base),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(naming: Naming, name: &str) -> Name {
        naming.read(&TestId { binary: "tests/mine".into(), name: name.into() })
    }

    #[test]
    fn a_case_names_loader_and_program() {
        let name = read(Naming::Cases, "filter::one_pid::case_2_libbpf_on_minimal_c");
        assert_eq!(name.base, "filter::one_pid");
        assert_eq!(name.loader.as_deref(), Some("libbpf"));
        assert_eq!(name.program.as_deref(), Some("minimal-c"));
        assert_eq!(name.to_string(), "filter::one_pid [libbpf minimal-c]");
        assert_eq!(
            read(Naming::Cases, "errors::no_tracefs::case_1_aya").to_string(),
            "errors::no_tracefs [aya]"
        );
        assert_eq!(read(Naming::Cases, "both::attached").to_string(), "both::attached");
    }

    #[test]
    fn the_names_of_other_people_s_tests_are_not_taken_apart() {
        let name = read(Naming::Plain, "parse::case_5_ecli");
        assert_eq!((name.base.as_str(), name.loader), ("parse::case_5_ecli", None));
        assert_eq!(read(Naming::OfBinary, "parse::case_5_ecli").to_string(), "mine parse::case_5_ecli");
    }
}
