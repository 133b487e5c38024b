use hooklab_types::explain::Explained;
use hooklab_types::kernel::Accelerator;
use hooklab_types::loader::{Cost, LoaderKind};
use hooklab_types::report::Cell;
use hooklab_types::test::Outcome;

use super::*;

/// A report of kernels with programs and how far they came.
fn report(kernels: &[(&str, &[(&str, Verdict)])]) -> Report {
    let load = |(program, verdict): &(&str, Verdict)| Load {
        loader: LoaderKind::Libbpf,
        object: "a.o".into(),
        program: (*program).into(),
        cost: Cost::default(),
        explained: Some(Explained {
            section: "tp/a/b".into(),
            kind: None,
            verdict: *verdict,
            cause: None,
            seconds: None,
            log: None,
        }),
    };
    let kernel = |(spec, programs): &(&str, &[(&str, Verdict)])| {
        let cell = Cell {
            loader: Some("libbpf".into()),
            program: Some("a.o".into()),
            loads: programs.iter().map(load).collect(),
            ..Cell::new("explain", Outcome::Passed)
        };
        Kernel { tests: vec![cell], ..Kernel::unknown(spec) }
    };
    let kernels = kernels.iter().map(kernel).collect();
    Report::new(Accelerator::Tcg, 0.0, kernels)
}

fn compare(before: Verdict, after: Verdict) -> Vec<String> {
    worse(&report(&[("6.12", &[("f", before)])]), &report(&[("6.12", &[("f", after)])]))
}

#[test]
fn coming_less_far_is_worse_and_coming_further_is_not() {
    use Verdict::{Attached, Loaded, NotAttached, NotTried, Refused};
    assert_eq!(compare(Loaded, Refused), ["6.12: f of a.o (libbpf) is not loaded, was loaded"]);
    for (before, after) in
        [(Attached, NotAttached), (Loaded, NotAttached), (NotAttached, Refused), (Attached, NotTried)]
    {
        assert_eq!(compare(before, after).len(), 1, "{before:?} {after:?}");
        assert_eq!(compare(after, before), [""; 0], "{after:?} {before:?}");
    }
    for same in [
        (Refused, Refused),
        (Refused, NotTried),
        (Attached, Loaded),
        (Loaded, Attached),
        (NotAttached, NotAttached),
    ] {
        assert_eq!(compare(same.0, same.1), [""; 0], "{same:?}");
    }
}

#[test]
fn a_program_or_kernel_that_is_new_must_be_fine() {
    use Verdict::{Loaded, Refused};
    let before = report(&[("6.12", &[("f", Refused)])]);
    let after =
        report(&[("6.12", &[("f", Refused), ("g", Refused), ("h", Loaded)]), ("7.3", &[("f", Refused)])]);
    let expected =
        ["6.12: g of a.o (libbpf) is new, and not loaded", "7.3: f of a.o (libbpf) is new, and not loaded"];
    assert_eq!(worse(&before, &after), expected);
}

#[test]
fn a_report_of_another_command_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.json");
    let write = |report: &Report| std::fs::write(&path, serde_json::to_string(report).unwrap()).unwrap();
    let mut other = report(&[("6.12", &[("f", Verdict::Loaded)])]);
    write(&other);
    assert_eq!(worse(&read(&path).unwrap(), &other), [""; 0]);
    other.kernels[0].tests[0].loads[0].explained = None;
    write(&other);
    assert!(read(&path).unwrap_err().is::<UsageError>());
    assert!(read(&directory.path().join("none.json")).unwrap_err().is::<UsageError>());
}
