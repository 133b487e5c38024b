//! Which kernels a selector means, and how pins compare with what is offered.

use super::super::source::debian::DebianSource;
use super::super::update::Update;
use super::*;
use crate::debian::{Entry, Index, LeftOut};

#[test]
fn ranges_and_words_select_among_the_kernels_of_the_catalog() {
    let mut lab = Lab::new();
    lab.pin_old();
    lab.pins[0].version = "6.1.9-1".into();
    let kernels = lab.kernels(|_| {});
    let select = |text: &str| -> Result<Vec<String>, Error> {
        let selected = kernels.select(&text.parse().unwrap())?;
        Ok(selected.iter().map(Spec::to_string).collect())
    };
    for (selector, expected) in [
        ("*", &["6.1", "7.3"][..]),
        (">=6.1.9, <7", &["6.1"]),
        ("~6.1", &["6.1"]),
        (">6.1", &["7.3"]),
        ("lts", &["6.1"]),
        ("newest", &["7.3"]),
        ("9.99", &["9.99"]),
    ] {
        assert_eq!(select(selector).unwrap(), expected, "{selector}");
    }
    let message = select(">=6.1.10, <7").unwrap_err().to_string();
    assert_eq!(message, "failed to find kernels for `>=6.1.10, <7`: there are 6.1.9, 7.3.0");
    let several = ["newest", "7.3", "6.1"].map(|text| text.parse().unwrap());
    let selected = kernels.select_all(&several).unwrap();
    assert_eq!(selected, ["7.3".parse().unwrap(), "6.1".parse().unwrap()]);
}

fn update(kernels: &Kernels, index: Index) -> Update<'_> {
    let offers = DebianSource::new(&kernels.parts).offers(&index);
    Update { lock: &kernels.parts.lock, cancel: &kernels.parts.options.cancel, index, offers }
}

#[test]
fn pins_are_compared_with_what_the_suites_offer() {
    let mut lab = Lab::new();
    lab.pin_old();
    let kernels = lab.kernels(|_| {});
    let pinned = lab.pins[0].packages[0].clone();
    let newer = Package {
        name: "linux-image-6.1.10-amd64".into(),
        version: "2-1".into(),
        sha256: "ab".repeat(32),
        ..pinned.clone()
    };
    let other = Package { name: "linux-image-7.3.4-amd64".into(), ..newer.clone() };
    let verdict = |spec: &str, packages: &[&Package], left_out: &[&str]| {
        let entries = packages.iter().map(|&package| Entry { package: package.clone(), depends: Vec::new() });
        let left_out =
            left_out.iter().map(|suite| LeftOut { suite: (*suite).to_owned(), trouble: None }).collect();
        let index = Index { entries: entries.collect(), left_out, ..Index::default() };
        update(&kernels, index).standing(&spec.parse().unwrap()).unwrap().verdict
    };
    assert_eq!(verdict("6.1", &[&pinned, &other], &[]), Verdict::Current);
    assert_eq!(verdict("6.1", &[&pinned, &newer], &[]), Verdict::Behind);
    assert_eq!(verdict("6.1", &[&newer], &[]), Verdict::Gone);
    assert_eq!(verdict("6.1", &[], &["sid"]), Verdict::Gone);
    assert_eq!(verdict("6.1", &[], &["trixie"]), Verdict::Unknown);
    assert_eq!(verdict("6.1", &[&newer], &["trixie"]), Verdict::Behind);
    assert_eq!(verdict("7.3", &[&pinned], &[]), Verdict::Unknown);
    assert_eq!(verdict("7.3", &[&other], &[]), Verdict::Missing);
}

#[test]
fn a_pin_moves_forth_and_never_back() {
    let mut lab = Lab::new();
    lab.pin_old();
    let kernels = lab.kernels(|_| {});
    let spec = "6.1".parse().unwrap();
    let old = Pin { version: "6.1.9-1".into(), ..lab.pins[0].clone() };
    for (offered, complete, chosen) in [
        ("6.1.10-1", true, "6.1.10-1"),
        ("6.1.10-1", false, "6.1.10-1"),
        ("6.1.9-1", true, "6.1.9-1"),
        ("6.1.8-1", true, "6.1.9-1"),
        ("6.1.8-1", false, "6.1.9-1"),
    ] {
        let new = Pin { version: offered.into(), ..old.clone() };
        let left_out = vec![LeftOut { suite: "sid".into(), trouble: None }];
        let left_out = if complete { Vec::new() } else { left_out };
        let update = update(&kernels, Index { left_out, ..Index::default() });
        let pin = update.choose(&spec, Some(&old), Some(new), &|_| {}).unwrap();
        assert_eq!(pin.unwrap().version, chosen, "{offered} {complete}");
    }
}
