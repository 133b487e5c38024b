use hooklab_types::explain::{Cause, ObjectDetails};
use hooklab_types::kernel::Accelerator;
use hooklab_types::loader::{Cost, LoaderKind};
use hooklab_types::test::Outcome;

use super::*;

/// Programs with the instructions that they took, or the class of what stood in their way.
type Programs<'a> = &'a [(&'a str, Result<u32, CauseClass>)];

fn report(kernels: &[(&str, Programs<'_>)]) -> Report {
    let load = |(program, result): &(&str, Result<u32, CauseClass>)| {
        let cause =
            |class| Cause { class, text: "why".into(), source: Some("a; @ a.c:1".into()), instruction: None };
        Load {
            loader: LoaderKind::Libbpf,
            object: "a.o".into(),
            program: (*program).into(),
            cost: Cost { verified_instructions: result.ok(), ..Cost::default() },
            explained: Some(Explained {
                section: "tp/a/b".into(),
                kind: None,
                verdict: if result.is_ok() { Verdict::Loaded } else { Verdict::Refused },
                cause: result.err().map(cause),
                seconds: None,
                log: result.err().map(|_| "log\u{1b}[2J".into()),
            }),
        }
    };
    let kernel = |(spec, programs): &(&str, Programs<'_>)| {
        let cell = Cell {
            loader: Some("libbpf".into()),
            program: Some("a.o".into()),
            loads: programs.iter().map(load).collect(),
            object: Some(ObjectDetails { maps: Vec::new(), unread_globals: vec!["unread".into()] }),
            ..Cell::new("explain", Outcome::Passed)
        };
        Kernel { tests: vec![cell], ..Kernel::unknown(spec) }
    };
    let kernels = kernels.iter().map(kernel).collect();
    Report::new(Accelerator::Tcg, 0.0, kernels)
}

fn plain(text: &str) -> String {
    strip_ansi_codes(text).into_owned()
}

fn three() -> Report {
    let (helper, verifier) = (Err(CauseClass::Helper), Err(CauseClass::Verifier));
    report(&[
        ("5.10", &[("f", helper), ("g", helper), ("h", Ok(50))]),
        ("6.12", &[("f", Ok(7)), ("g", Ok(7)), ("h", verifier)]),
        ("7.3", &[("f", Ok(9)), ("g", Ok(7)), ("h", Ok(48))]),
    ])
}

#[test]
fn what_changed_against_the_kernel_before_is_marked() {
    let expected = " PROGRAM  5.10    6.12      7.3\n f        helper  ok 7      ok 9 +2\n g        helper  ok 7      ok 7\n \
                    h        ok 50   verifier  ok 48 -2";
    assert_eq!(plain(&table(&three(), None)), expected);
    assert_eq!(verdict(&three()), "0 of 3 programs load on all 3 kernels");
}

#[test]
fn a_table_that_is_too_wide_is_several_and_no_difference_gets_lost() {
    let narrow = plain(&table(&three(), Some(30)));
    let expected = " PROGRAM  5.10    6.12\n f        helper  ok 7\n g        helper  ok 7\n h        ok 50   verifier\n\n \
                    PROGRAM  7.3\n f        ok 9 +2\n g        ok 7\n h        ok 48 -2";
    assert_eq!(narrow, expected);
    assert_eq!(plain(&table(&three(), Some(1))).matches("PROGRAM").count(), 3);
}

#[test]
fn a_cause_is_told_once_with_its_kernels_and_programs() {
    let expected = "helper on 5.10: why\n    a.o: f, g, at `a; @ a.c:1`\nverifier on 6.12: why\n    a.o: h, at `a; @ a.c:1`\n\
                    note: no instruction of a.o reads `unread`: setting it has no effect";
    assert_eq!(causes(&three()), expected);
    let other = Err(CauseClass::Other);
    let everywhere =
        report(&[("5.10", &[("f", other)]), ("6.12", &[("f", other)]), ("7.3", &[("f", other)])]);
    assert!(causes(&everywhere).starts_with("other on all 3 kernels: why\n"), "{}", causes(&everywhere));
}

#[test]
fn logs_cannot_control_a_terminal_and_kernels_in_error_have_no_verdict() {
    let mut report = three();
    assert_eq!(logs(&report).matches("\nlog of ").count(), 3);
    assert!(!logs(&report).contains('\u{1b}'));
    report.kernels[0].error = Some("it is gone".into());
    report.kernels[0].tests.clear();
    assert!(
        plain(&table(&report, None)).contains(" f        ERROR  ok 7      ok 9 +2"),
        "{}",
        table(&report, None)
    );
    assert!(causes(&report).contains("ERROR on 5.10:\n    it is gone"));
    assert!(markdown(&report).contains("```text\nverifier on 6.12: why\n"));
    report.kernels.truncate(1);
    assert_eq!(verdict(&report), "no kernel gave an answer");
}

#[test]
fn colours_take_no_place() {
    let red = |text| style(text).red().force_styling(true).to_string();
    let rows =
        [vec!["A".to_owned(), "B".to_owned(), "C".to_owned()], vec![red("long"), red("x"), "y".to_owned()]];
    let text = aligned(&rows);
    assert!(text.contains('\u{1b}'));
    assert_eq!(plain(&text), " A     B  C\n long  x  y");
}

#[test]
fn programs_with_the_same_cause_on_other_kernels_are_told_apart() {
    let helper = Err(CauseClass::Helper);
    let report =
        report(&[("5.10", &[("f", helper), ("g", helper)]), ("6.12", &[("f", helper), ("g", Ok(1))])]);
    let expected = "helper on 5.10, 6.12: why\n    a.o: f, at `a; @ a.c:1`\nhelper on 5.10: why\n    a.o: g, at `a; @ a.c:1`\n";
    assert!(causes(&report).starts_with(expected), "{}", causes(&report));
}
