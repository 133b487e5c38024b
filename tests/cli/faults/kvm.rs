//! KVM that is there and is not: it opens, and then fails at once, or hangs.

use std::fs;

use super::site::{ONE, Site};
use crate::gate::{Met, needs};

/// With a QEMU that does this when it is to use KVM, and notes when it is called for a machine.
fn with_kvm_that(_: Met, does: &str) -> Site {
    let site = Site::with_own_machines();
    let script = format!(
        r#"[[ "$*" == *--version* ]] || date +%s.%N >> {}
           [[ "$*" == *kvm* && "$*" != *--version* ]] && {does}
           qemu "$@""#,
        site.path("calls").display()
    );
    site.with_qemu(&script)
}

/// Seconds at which QEMU was called for a machine.
fn calls(site: &Site) -> Vec<f64> {
    fs::read_to_string(site.path("calls")).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn kvm_that_fails_at_once_is_found_out_once_and_done_without() {
    let kvm = needs!(Kvm);
    let site = with_kvm_that(kvm, "{ echo 'no such register' >&2; exit 1; }");
    let ran = site.run(&["-k", "6.12", ONE[0], ONE[1]]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("KVM is not usable here (QEMU gives up with it)"), "{}", ran.stderr);
    assert_eq!(ran.report["accelerator"], "tcg");
    // One that tries KVM, one that boots; then one that resumes.
    assert_eq!(calls(&site).len(), 2);
    site.goes_on();
    assert_eq!(calls(&site).len(), 3);

    let ran = site.run(&["-k", "6.12", "--accel", "kvm", ONE[0]]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stdout.contains("no such register"), "{}", ran.stdout);
}

#[test]
fn kvm_that_hangs_costs_ten_seconds_once() {
    let kvm = needs!(Kvm);
    let site = with_kvm_that(kvm, "exec sleep 600");
    let ran = site.run(&["-k", "6.12", ONE[0], ONE[1]]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("KVM is not usable here (QEMU hangs with it)"), "{}", ran.stderr);
    let [probe, boot] = calls(&site)[..] else { panic!("{:?}", calls(&site)) };
    // Between the two, virtme-ng was asked for the other machine.
    assert!((10.0..15.0).contains(&(boot - probe)), "{}", boot - probe);
    site.goes_on();
    assert_eq!(calls(&site).len(), 3);

    let begin = std::time::Instant::now();
    let ran = site.run(&["-k", "6.12", "--accel", "kvm", "--boot-timeout", "3", ONE[0]]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stdout.contains("failed to control QEMU: QEMU's monitor does not answer"), "{}", ran.stdout);
    let seconds = begin.elapsed().as_secs_f64();
    assert!(seconds < 3.0 + 2.0 + 3.0, "{seconds}");
}
