//! KVM that is there and is not: it opens, and then fails at once, or hangs.

use std::fs;

use crate::gate::{Met, needs};
use crate::support::{ONE, PROMPTLY, TestEnv, took_its_limit};

/// With a QEMU that does this when it is to use KVM, and notes when it is called for a machine.
fn with_kvm_that(_: Met, does: &str) -> TestEnv {
    let env = TestEnv::with_own_cache(&["kernels"]);
    let script = format!(
        r#"[[ "$*" == *--version* ]] || date +%s.%N >> {}
           [[ "$*" == *kvm* && "$*" != *--version* ]] && {does}
           qemu "$@""#,
        env.path("calls").display()
    );
    env.with_qemu(&script)
}

/// Seconds at which QEMU was called for a machine.
fn calls(env: &TestEnv) -> Vec<f64> {
    fs::read_to_string(env.path("calls")).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn kvm_that_fails_at_once_is_found_out_once_and_done_without() {
    let kvm = needs!(Kvm);
    let env = with_kvm_that(kvm, "{ echo 'no such register' >&2; exit 1; }");
    let ran = env.vm_test(&["-k", "6.12", ONE[0], ONE[1]]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("KVM is not usable here (QEMU exits with it)"), "{}", ran.stderr);
    assert_eq!(ran.report["accelerator"], "tcg");
    // One that tries KVM, one that boots; then one that resumes.
    assert_eq!(calls(&env).len(), 2);
    env.next_run_passes();
    assert_eq!(calls(&env).len(), 3);

    let ran = env.vm_test(&["-k", "6.12", "--accel", "kvm", ONE[0]]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stdout.contains("no such register"), "{}", ran.stdout);
}

#[test]
fn kvm_that_hangs_costs_ten_seconds_once() {
    let kvm = needs!(Kvm);
    let env = with_kvm_that(kvm, "exec sleep 600");
    let ran = env.vm_test(&["-k", "6.12", ONE[0], ONE[1]]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("KVM is not usable here (QEMU hangs with it)"), "{}", ran.stderr);
    let [probe, boot] = calls(&env)[..] else { panic!("{:?}", calls(&env)) };
    assert!((10.0..10.0 + PROMPTLY.as_secs_f64()).contains(&(boot - probe)), "{}", boot - probe);
    env.next_run_passes();
    assert_eq!(calls(&env).len(), 3);

    let ran = env.vm_test(&["-k", "6.12", "--accel", "kvm", "--boot-timeout", "3", ONE[0]]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stdout.contains("failed to control QEMU: QEMU's monitor does not answer"), "{}", ran.stdout);
    took_its_limit(ran.kernel(), 3.0);
}
