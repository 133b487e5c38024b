//! Which tests run: what their names say, and what the user asked for.

use hooklab_vm::binary::Test;

use crate::cli::{Language, ProgramOptions};

/// What the name of a guest test says. A test that is one loader's ends in a case that rstest names
/// `case_1_LOADER_on_PROGRAM`, or `case_1_LOADER` where the program is not one of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    /// The name without the case.
    pub(crate) base: String,
    /// The loader, if the test is one loader's.
    pub(crate) loader: Option<String>,
    /// The program, likewise.
    pub(crate) program: Option<String>,
}

impl Name {
    /// The language of the program that the test takes. What does not say so takes programs in C.
    fn language(&self) -> Language {
        match &self.program {
            Some(program) if program.ends_with("-rust") => Language::Rust,
            _ => Language::C,
        }
    }

    /// Takes a name apart.
    pub(crate) fn parse(name: &str) -> Self {
        let plain = || Self { base: name.to_owned(), loader: None, program: None };
        let Some((base, case)) = name.rsplit_once("::case_") else { return plain() };
        let label = case.trim_start_matches(|character: char| character.is_ascii_digit());
        let Some(label) = label.strip_prefix('_') else { return plain() };
        let dashed = |word: &str| Some(word.replace('_', "-"));
        let (loader, program) = match label.split_once("_on_") {
            Some((loader, program)) => (dashed(loader), dashed(program)),
            None => (dashed(label), None),
        };
        Self { base: base.to_owned(), loader, program }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.loader, &self.program) {
            (Some(loader), Some(program)) => write!(f, "{} [{loader} {program}]", self.base),
            (Some(loader), None) => write!(f, "{} [{loader}]", self.base),
            _ => f.write_str(&self.base),
        }
    }
}

/// The tests that the filters, loaders and programs leave; none of these leave all. With loaders, tests that are not
/// one loader's own are left out.
pub(crate) fn select(
    tests: Vec<Test>,
    filters: &[String],
    loaders: &[String],
    programs: &ProgramOptions,
) -> Vec<Test> {
    let wanted = |test: &Test| {
        let name = Name::parse(&test.name);
        let shown = name.to_string();
        (filters.is_empty() || filters.iter().any(|f| test.name.contains(f) || shown.contains(f)))
            && programs.wants(name.language())
            && (loaders.is_empty() || name.loader.is_some_and(|loader| loaders.contains(&loader)))
    };
    tests.into_iter().filter(wanted).collect()
}

/// The tests that are not this loader's.
pub(crate) fn without(tests: Vec<Test>, loader: &str) -> Vec<Test> {
    let is_its = |test: &Test| Name::parse(&test.name).loader.as_deref() == Some(loader);
    tests.into_iter().filter(|test| !is_its(test)).collect()
}

/// The loaders that have tests.
pub(crate) fn loaders(tests: &[Test]) -> Vec<String> {
    let mut loaders: Vec<String> = tests.iter().filter_map(|test| Name::parse(&test.name).loader).collect();
    loaders.sort();
    loaders.dedup();
    loaders
}

/// Whether any of the tests may need one of these loaders: it is theirs, or they do not say whose they are.
pub(crate) fn need(tests: &[Test], loaders: &[&str]) -> bool {
    let may_need =
        |test: &Test| Name::parse(&test.name).loader.is_none_or(|loader| loaders.contains(&&*loader));
    tests.iter().any(may_need)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<Test> {
        names.iter().map(|name| Test { name: (*name).to_owned(), ignored: false }).collect()
    }

    #[test]
    fn a_case_names_loader_and_program() {
        let name = Name::parse("filter::one_pid::case_2_libbpf_on_minimal_c");
        assert_eq!(name.base, "filter::one_pid");
        assert_eq!(name.loader.as_deref(), Some("libbpf"));
        assert_eq!(name.program.as_deref(), Some("minimal-c"));
        assert_eq!(name.to_string(), "filter::one_pid [libbpf minimal-c]");
        assert_eq!(Name::parse("errors::no_tracefs::case_1_aya").to_string(), "errors::no_tracefs [aya]");
        assert_eq!(Name::parse("both::attached").to_string(), "both::attached");
    }

    #[test]
    fn filters_and_loaders_both_must_agree() {
        let tests = named(&["a::x::case_1_aya_on_c", "a::x::case_2_libbpf_on_c", "both::x"]);
        let pick = |filters: &[&str], loaders: &[&str]| {
            let all = ProgramOptions::default();
            let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
            let left = select(tests.clone(), &owned(filters), &owned(loaders), &all);
            left.into_iter().map(|test| test.name).collect::<Vec<_>>()
        };
        assert_eq!(pick(&[], &[]).len(), 3);
        assert_eq!(pick(&["a::"], &["aya"]), ["a::x::case_1_aya_on_c"]);
        assert_eq!(pick(&["[libbpf"], &[]), ["a::x::case_2_libbpf_on_c"]);
        assert_eq!(pick(&[], &["aya"]), ["a::x::case_1_aya_on_c"]);
        assert!(pick(&["nothing"], &[]).is_empty());
    }

    #[test]
    fn a_loader_that_is_not_there_takes_its_tests_alone_with_it() {
        let tests = named(&["a::x::case_1_aya_on_c", "a::x::case_2_ecli_on_c", "b::case_1_ecli", "ecli::x"]);
        let left = without(tests, "ecli");
        assert_eq!(left, named(&["a::x::case_1_aya_on_c", "ecli::x"]));
    }

    #[test]
    fn what_no_test_needs_is_known() {
        assert!(!need(&named(&["a::case_1_aya_on_c", "b::case_2_libbpf"]), &["eunomia", "ecli"]));
        assert!(need(&named(&["a::case_1_aya_on_c", "b::case_2_ecli"]), &["eunomia", "ecli"]));
        assert!(need(&named(&["a::case_1_aya_on_c", "somebody_s_own"]), &["eunomia", "ecli"]));
    }

    #[test]
    fn a_program_s_language_is_the_end_of_its_label() {
        let tests =
            named(&["a::case_1_aya_on_minimal_c", "a::case_2_aya_on_minimal_rust", "b::case_1_aya", "c"]);
        let count = |programs: &[Language]| {
            let programs = ProgramOptions { programs: programs.to_vec() };
            select(tests.clone(), &[], &[], &programs).len()
        };
        assert_eq!((count(&[Language::C]), count(&[Language::Rust]), count(&[])), (3, 1, 4));
    }
}
