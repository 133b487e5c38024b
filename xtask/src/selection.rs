//! Which tests run: what their names say, and what the user asked for.

use std::collections::BTreeMap;

use hooklab::naming::{Name, Naming};
use hooklab_types::kernel::Need;
use hooklab_vm::TestId;
use hooklab_vm::binary::Test;

use crate::hooks;
use crate::programs::{Language, ProgramOptions};

/// The tests of a binary, and how their names are read.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) tests: Vec<Test>,
    naming: Naming,
}

impl Selection {
    pub(crate) fn new(tests: Vec<Test>, naming: Naming) -> Self {
        Self { tests, naming }
    }

    fn name(&self, test: &Test) -> Name {
        self.naming.read(&id(test))
    }

    /// The tests that the filters, loaders and programs leave; none of these leave all. With loaders, tests that are
    /// not one loader's own are left out.
    pub(crate) fn select(&mut self, filters: &[String], loaders: &[String], programs: &ProgramOptions) {
        let wanted = |test: &Test| {
            let name = self.name(test);
            let shown = name.to_string();
            (filters.is_empty() || filters.iter().any(|f| test.name.contains(f) || shown.contains(f)))
                && programs.wants(language(&name))
                && (loaders.is_empty() || name.loader.is_some_and(|loader| loaders.contains(&loader)))
        };
        self.tests = self.tests.iter().filter(|test| wanted(test)).cloned().collect();
    }

    /// Leaves out this loader's tests.
    pub(crate) fn leave_out(&mut self, loader: &str) {
        let others = |test: &&Test| self.name(test).loader.as_deref() != Some(loader);
        self.tests = self.tests.iter().filter(others).cloned().collect();
    }

    /// The loaders that have tests.
    pub(crate) fn loaders(&self) -> Vec<String> {
        let mut loaders: Vec<String> = self.tests.iter().filter_map(|test| self.name(test).loader).collect();
        loaders.sort();
        loaders.dedup();
        loaders
    }

    /// Whether any of the tests may need one of these loaders: it is theirs, or they do not say whose they are.
    pub(crate) fn need(&self, loaders: &[&str]) -> bool {
        self.tests.iter().any(|test| self.name(test).loader.is_none_or(|loader| loaders.contains(&&*loader)))
    }

    /// What the tests need of a kernel: what their programs do.
    pub(crate) fn needs(&self) -> BTreeMap<TestId, Vec<Need>> {
        let needs = |test: &Test| (id(test), self.needs_of(test));
        self.tests.iter().map(needs).filter(|(_, needs)| !needs.is_empty()).collect()
    }

    fn needs_of(&self, test: &Test) -> Vec<Need> {
        let name = self.name(test);
        hooks::needs(&name.base, name.loader.as_deref(), name.program.as_deref())
    }

    /// The tests' names, for a person, each with what it takes to be run.
    pub(crate) fn titles(&self) -> impl Iterator<Item = String> + '_ {
        self.tests.iter().map(|test| {
            let needs: Vec<String> = self.needs_of(test).iter().map(Need::to_string).collect();
            let note = match (test.ignored, &needs[..]) {
                (true, _) => " (ignored)".into(),
                (false, []) => String::new(),
                (false, needs) => format!(" (needs {})", needs.join(", ")),
            };
            format!("{}{note}", self.name(test))
        })
    }
}

/// A test of the one binary of a run.
pub(crate) fn id(test: &Test) -> TestId {
    TestId { binary: crate::build::TEST_BINARY.into(), name: test.name.clone() }
}

/// The language of the program that a test takes. What does not say so takes programs in C.
fn language(name: &Name) -> Language {
    match &name.program {
        Some(program) if program.ends_with("-rust") => Language::Rust,
        _ => Language::C,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::HOOKS;

    fn named(names: &[&str]) -> Vec<Test> {
        names.iter().map(|name| Test { name: (*name).to_owned(), ignored: false }).collect()
    }

    fn cases(tests: Vec<Test>) -> Selection {
        Selection::new(tests, Naming::Cases)
    }

    #[test]
    fn filters_and_loaders_both_must_agree() {
        let tests = named(&["a::x::case_1_aya_on_c", "a::x::case_2_libbpf_on_c", "both::x"]);
        let pick = |filters: &[&str], loaders: &[&str]| {
            let all = ProgramOptions::default();
            let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
            let mut left = cases(tests.clone());
            left.select(&owned(filters), &owned(loaders), &all);
            left.tests.into_iter().map(|test| test.name).collect::<Vec<_>>()
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
        let mut left = cases(tests.clone());
        left.leave_out("ecli");
        assert_eq!(left.tests, named(&["a::x::case_1_aya_on_c", "ecli::x"]));
        // Of other people's tests none is ours to leave out.
        let mut foreign = Selection::new(tests.clone(), Naming::Plain);
        foreign.leave_out("ecli");
        assert_eq!((foreign.tests.len(), foreign.loaders().len()), (tests.len(), 0));
    }

    #[test]
    fn what_no_test_needs_is_known() {
        let need = |names: &[&str]| cases(named(names)).need(&["eunomia", "ecli"]);
        assert!(!need(&["a::case_1_aya_on_c", "b::case_2_libbpf"]));
        assert!(need(&["a::case_1_aya_on_c", "b::case_2_ecli"]));
        assert!(need(&["a::case_1_aya_on_c", "somebody_s_own"]));
    }

    #[test]
    fn what_a_test_s_program_needs_is_what_the_test_needs() {
        let tests = cases(named(&[
            "a::case_1_aya_on_minimal_lsm_c",
            "a::case_2_libbpf_on_minimal_kprobe_rust",
            "a::case_3_eunomia_on_minimal_tp_btf_package",
            "a::case_4_aya_on_minimal_c",
            "a::case_6_aya_on_minimal_kprobe_c",
            "kinds::records_are_decoded::case_1_aya_on_ring_buffer",
            "a::case_5_eunomia_on_ecc_package",
            "b",
        ]));
        let needs: Vec<(String, Vec<Need>)> =
            tests.needs().into_iter().map(|(test, needs)| (test.name, needs)).collect();
        let of = |name: &str, needs: &[Need]| (name.to_owned(), needs.to_vec());
        assert_eq!(
            needs,
            [
                of("a::case_1_aya_on_minimal_lsm_c", &[Need::Btf, Need::Fentry, Need::BpfLsm]),
                of("a::case_2_libbpf_on_minimal_kprobe_rust", &[Need::Kprobes]),
                of("a::case_3_eunomia_on_minimal_tp_btf_package", &[Need::Btf]),
                of("a::case_6_aya_on_minimal_kprobe_c", &[Need::Kprobes, Need::Patchlevel]),
                of("kinds::records_are_decoded::case_1_aya_on_ring_buffer", &[Need::Patchlevel]),
            ]
        );
        let titles: Vec<String> = tests.titles().collect();
        assert_eq!(titles[0], "a [aya minimal-lsm-c] (needs BTF, fentry, BPF LSM)");
        assert_eq!(titles.last().map(String::as_str), Some("b"));
    }

    /// A program without a line would run, and fail, where the kernel lacks what it needs.
    #[test]
    fn every_program_has_a_line_with_its_section() {
        let sources = crate::checkout::Checkout::find().unwrap().root.join("ebpf");
        let mut found = Vec::new();
        for source in std::fs::read_dir(sources).unwrap().flatten() {
            let name = source.file_name().into_string().unwrap();
            let text = std::fs::read_to_string(source.path()).unwrap_or_default();
            let sections = text.lines().filter_map(|line| line.strip_prefix("SEC(\"")?.strip_suffix("\")"));
            let object = name.strip_suffix(".bpf.c").unwrap_or_default().to_owned();
            found.extend(sections.map(|section| (object.clone(), section.to_owned())));
        }
        found.sort();
        let in_c = HOOKS.iter().filter(|hook| !hook.object.ends_with("-rust"));
        let mut known: Vec<_> = in_c.map(|hook| (hook.object.to_owned(), hook.section.to_owned())).collect();
        known.sort();
        assert_eq!(found, known);
    }

    #[test]
    fn a_program_s_language_is_the_end_of_its_label() {
        let tests =
            named(&["a::case_1_aya_on_minimal_c", "a::case_2_aya_on_minimal_rust", "b::case_1_aya", "c"]);
        let count = |programs: &[Language]| {
            let programs = ProgramOptions { programs: programs.to_vec() };
            let mut left = cases(tests.clone());
            left.select(&[], &[], &programs);
            left.tests.len()
        };
        assert_eq!((count(&[Language::C]), count(&[Language::Rust]), count(&[])), (3, 1, 4));
    }
}
