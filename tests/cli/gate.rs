//! Tests that not every host can run say so in their first line: `needs!(Root)`.

use std::fs;

use crate::needs::{NOT_RUN_IN_CI, Need, TABLE};

/// That the host meets what a test needs; what depends on it asks for this, and `needs!` alone gives it.
#[derive(Clone, Copy)]
pub(crate) struct Met(());

/// Fails the test that it is in, with a sentence, where the host does not meet what it needs.
macro_rules! needs {
    ($($need:ident),+) => {{
        fn here() {}
        $crate::gate::check(std::any::type_name_of_val(&here), &[$($crate::needs::Need::$need),+])
    }};
}
pub(crate) use needs;

use crate::support::root;

/// Checks the needs of the test in which a function of this path is.
pub(crate) fn check(path: &str, needs: &[Need]) -> Met {
    let test = path.strip_prefix("cli::").and_then(|path| path.strip_suffix("::here")).unwrap();
    let listed = TABLE.iter().find(|(name, _)| *name == test).map(|(_, needs)| *needs);
    assert_eq!(listed, Some(needs), "tests/needs.rs says something else of {test}");
    for need in needs {
        if let Err(lacks) = need.probe(root()) {
            panic!(
                "{test} needs {lacks}: `cargo xtask test` leaves it out where this is lacking, and says so"
            );
        }
    }
    Met(())
}

#[test]
fn the_table_names_tests_that_there_are_and_that_say_what_they_need() {
    let listed = std::process::Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let tests: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    for (name, needs) in TABLE {
        let words: Vec<String> = needs.iter().map(|need| format!("{need:?}")).collect();
        let (module, function) = name.rsplit_once("::").unwrap();
        let source = root().join("tests/cli").join(module.replace("::", "/")).with_extension("rs");
        let source = fs::read_to_string(source).unwrap();
        let (_, body) = source.split_once(&format!("fn {function}() {{\n")).expect(name);
        let first = body.lines().next().unwrap();
        assert!(first.contains(&format!("needs!({});", words.join(", "))), "{name} begins with {first}");
        // A plain `cargo test` knows those of the feature only by source.
        assert_eq!(tests.contains(name), cfg!(feature = "lab"), "{name}");
    }
}

#[test]
fn what_ci_may_leave_out_is_in_the_table() {
    for line in NOT_RUN_IN_CI.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        assert!(TABLE.iter().any(|(name, _)| *name == line), "{line}");
    }
}
