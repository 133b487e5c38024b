use std::time::Duration;

use hooklab_types::explain::CauseClass;
use hooklab_types::kernel::Accelerator;
use hooklab_types::loader::{Cost, LoaderKind};
use serde_json::{Value, json};

use super::*;
use crate::exit::Exit;
use crate::naming::Naming;
use crate::report::collector::Collector;

fn object() -> Object {
    let program = |name: &str| Program { name: name.into(), section: "tp/a/b".into() };
    Object { path: "a.o".into(), name: "a.o".into(), programs: vec![program("one"), program("two")] }
}

fn unit() -> (usize, Unit) {
    (0, Unit { test: "a.o".into(), file: "objects/0/a.o".into(), loader: LoaderKind::Libbpf })
}

fn program(name: &str, verdict: &str) -> Value {
    json!({ "name": name, "cost": { "verified_instructions": 2, "jited_bytes": 9 },
            "explained": { "section": "x", "kind": "tracepoint", "verdict": verdict } })
}

fn whole(programs: usize) -> Value {
    json!({ "programs": programs, "cause": null, "details": { "maps": [], "unread_globals": ["unread"] } })
}

/// The report of a kernel whose guest sent these files, and whose test ended so.
fn report(files: &[(&str, Value)], outcome: Outcome) -> Report {
    let test = TestId { binary: "explain".into(), name: "a.o".into() };
    let collector = Collector::new(vec!["6.12".into()], vec![(test.clone(), false)], Naming::Plain);
    let answers = Answers::default();
    let spec = || "6.12".to_owned();
    for (path, content) in files {
        let content = content.to_string();
        answers.notify(Event::File { spec: spec(), test: test.clone(), path: (*path).into(), content });
    }
    let (duration, earlier) = (Duration::ZERO, Vec::new());
    let message = (outcome != Outcome::Passed).then(|| "why".to_owned());
    collector.notify(Event::TestEnded { spec: spec(), test, outcome, duration, message, earlier });
    collector.notify(Event::KernelEnded { spec: spec(), error: None, wall: duration });
    let mut report = collector.report(Accelerator::Tcg, duration, false);
    fill(&mut report, answers, "explain", &[object()], &[unit()]);
    report
}

fn error(report: &Report) -> String {
    assert_eq!(Exit::of(report), Exit::Lab);
    report.kernels[0].error.clone().unwrap()
}

#[test]
fn every_program_that_loads_is_what_it_takes() {
    let files = [
        ("0/object.json", whole(2)),
        ("0/0.json", program("one", "loaded")),
        ("0/1.json", program("two", "attached")),
    ];
    let passed = report(&files, Outcome::Passed);
    assert_eq!(Exit::of(&passed), Exit::Success);
    let cell = &passed.kernels[0].tests[0];
    assert_eq!(
        (cell.name.as_str(), cell.program.as_deref(), cell.loader.as_deref()),
        ("explain", Some("a.o"), Some("libbpf"))
    );
    // The section is what the host read.
    assert_eq!(cell.loads[1].explained.as_ref().unwrap().section, "tp/a/b");
    assert_eq!(cell.object.as_ref().unwrap().unread_globals, ["unread"]);
}

#[test]
fn one_that_does_not_is_a_failure() {
    for verdict in ["refused", "not-tried", "not-attached"] {
        let files = [
            ("0/object.json", whole(2)),
            ("0/0.json", program("one", verdict)),
            ("0/1.json", program("two", "loaded")),
        ];
        let failed = report(&files, Outcome::Passed);
        assert_eq!(Exit::of(&failed), Exit::TestsFailed);
        assert_eq!(failed.kernels[0].tests[0].message.as_deref(), Some("not loaded: one"));
    }
}

#[test]
fn what_is_left_behind_is_no_failure_and_not_lost() {
    let files = [
        ("0/object.json", whole(2)),
        ("0/0.json", program("one", "loaded")),
        ("0/1.json", program("two", "loaded")),
    ];
    let leaked = report(&files, Outcome::Leaked);
    assert_eq!(Exit::of(&leaked), Exit::Success);
    assert_eq!(
        (leaked.kernels[0].tests[0].outcome, leaked.kernels[0].tests[0].message.as_deref()),
        (Outcome::Leaked, Some("why"))
    );
}

#[test]
fn a_program_without_a_whole_answer_is_an_error_of_the_lab() {
    let (object, one, two) = (
        |count| ("0/object.json", whole(count)),
        ("0/0.json", program("one", "loaded")),
        ("0/1.json", program("two", "loaded")),
    );
    let other = ("0/2.json", program("three", "loaded"));
    let twice = ("0/1.json", program("one", "loaded"));
    let unreadable = ("0/1.json", json!({ "name": "two" }));
    for (files, said) in [
        (vec![], "sent no answer"),
        (vec![one.clone(), two.clone()], "sent no answer"),
        (vec![object(1), one.clone()], "did not answer for the program two"),
        (vec![object(2), one.clone()], "did not answer for every program"),
        (vec![object(3), one.clone(), two.clone()], "did not answer for every program"),
        (vec![object(3), one.clone(), two.clone(), other], "three, which is no program of a.o"),
        (vec![object(2), one.clone(), twice], "answered twice"),
        (vec![object(2), one.clone(), unreadable], "makes no sense"),
    ] {
        let error = error(&report(&files, Outcome::Passed));
        assert!(error.starts_with("a.o: ") && error.contains(said), "{error}: not {said}");
    }
    let files = [object(2), one, two];
    for outcome in [Outcome::Crashed, Outcome::TimedOut, Outcome::Failed] {
        assert!(error(&report(&files, outcome)).contains("why"));
    }
}

#[test]
fn an_object_that_was_not_tried_is_an_error_of_the_lab() {
    let collector = Collector::new(vec!["6.12".into()], Vec::new(), Naming::Plain);
    collector.notify(Event::KernelEnded { spec: "6.12".into(), error: None, wall: Duration::ZERO });
    let mut report = collector.report(Accelerator::Tcg, Duration::ZERO, true);
    fill(&mut report, Answers::default(), "explain", &[object()], &[unit()]);
    assert_eq!(error(&report), "a.o: it was not tried");
}

#[test]
fn an_object_that_does_not_open_has_no_program_that_loads() {
    let cause = json!({ "class": "no-btf", "text": "BTF is required" });
    let answer = |programs: usize| json!({ "programs": programs, "cause": cause, "details": { "maps": [], "unread_globals": [] } });
    let unopened = report(&[("0/object.json", answer(0))], Outcome::Passed);
    assert_eq!(Exit::of(&unopened), Exit::TestsFailed);
    let loads = &unopened.kernels[0].tests[0].loads;
    let verdicts = loads
        .iter()
        .map(|load| load.explained.as_ref().unwrap())
        .map(|one| (one.verdict, one.cause.as_ref().unwrap().class));
    assert_eq!(verdicts.collect::<Vec<_>>(), [(Verdict::NotTried, CauseClass::NoBtf); 2]);
    let files = [("0/object.json", answer(1)), ("0/0.json", program("one", "loaded"))];
    assert!(error(&report(&files, Outcome::Passed)).contains("could not open"));
}

#[test]
fn what_a_guest_says_is_bounded_and_draws_nothing() {
    let mut one = program("one", "refused");
    one["explained"]["cause"] =
        json!({ "class": "other", "text": format!("\u{1b}[2J\n{}", "é".repeat(1000)), "source": "a\u{7}b" });
    one["explained"]["kind"] = json!("a|b");
    one["explained"]["seconds"] = json!(-1.0);
    let mut object = whole(2);
    let map = |name: &str| json!({ "name": name, "kind": "hash", "key_size": 4, "value_size": 4, "max_entries": 1, "bytes": null });
    object["details"] = json!({ "maps": [map("a|b"), map("good")], "unread_globals": ["\u{1b}", "good"] });
    let report = report(
        &[("0/object.json", object), ("0/0.json", one), ("0/1.json", program("two", "loaded"))],
        Outcome::Passed,
    );
    let cell = &report.kernels[0].tests[0];
    let explained = cell.loads[0].explained.as_ref().unwrap();
    let cause = explained.cause.as_ref().unwrap();
    assert!(cause.text.len() <= TEXT_BYTES && !cause.text.contains(['\u{1b}', '\n']), "{}", cause.text);
    assert!(!cause.source.as_ref().unwrap().contains('\u{7}'));
    assert_eq!((&explained.kind, explained.seconds), (&None, None));
    let details = cell.object.as_ref().unwrap();
    assert_eq!((details.maps.len(), details.unread_globals.len()), (1, 1));
    assert_eq!(
        cell.loads[0].cost,
        Cost { verified_instructions: Some(2), jited_bytes: Some(9), ..Cost::default() }
    );
}
