//! Tests whose needs a kernel does not meet: they are not run, and all others are. A script replaces the agent.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::time::Duration;

use hooklab_protocol::{self as protocol, Exit, Features, Report, SideEffects};
use hooklab_vm::TestId;
use hooklab_vm::event::{Event, KernelError, Need, Outcome};
use hooklab_vm::machine::Plan;
use hooklab_vm::runner::{self, Campaign, Isolation, Job};

const PASSED: &str = "test result: ok. 1 passed; 0 failed; 0 ignored";
const FAILED: &str = "test result: FAILED. 0 passed; 1 failed; 0 ignored";

const NOTHING: Features =
    Features { btf: false, tracefs: false, bpf_lsm: false, bpf_jit: false, kprobes: false, fentry: false };

/// Test, outcome, message.
type Row = (String, Outcome, Option<String>);

fn id(name: &str) -> TestId {
    TestId { binary: "guest".into(), name: name.into() }
}

/// Runs `plain`, which needs nothing, and `hook`, which needs a BPF LSM and fentry, on a kernel with these features. The
/// agent says that the tests `ran`, each with this summary. Whether the failure of a test ends the run is `fail_fast`.
fn run(features: Features, ran: &[(&str, &str)], fail_fast: bool) -> (Vec<Row>, Option<KernelError>) {
    let mut sends = Vec::new();
    let mut send = |report: Report| protocol::send(&mut sends, &report).unwrap();
    let (protocol, release) = (protocol::VERSION, "6.12".into());
    send(Report::Ready { protocol, release, features, shared_memory_bytes: 0 });
    send(Report::Loaded);
    for (test, output) in ran {
        let (exit, side_effects) = (Exit::Code(0), SideEffects::default());
        send(Report::Started { test: (*test).into() });
        let (test, output) = ((*test).to_owned(), (*output).to_owned());
        send(Report::Ended { test, exit, micros: 1, output, side_effects });
        // Two tests are too few for a batch.
        send(Report::Done);
    }
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("sends"), sends).unwrap();
    let agent = directory.path().join("agent");
    let script = format!("#!/bin/sh\ncd {}\ncat sends\nexec sleep 600\n", directory.path().display());
    fs::write(&agent, script).unwrap();
    fs::set_permissions(&agent, Permissions::from_mode(0o755)).unwrap();
    let campaign = Campaign {
        payload: &[0; 1024],
        tests: vec![id("hook"), id("plain")],
        needs: BTreeMap::from([(id("hook"), vec![Need::Fentry, Need::BpfLsm])]),
        whole: BTreeMap::new(),
        env: Vec::new(),
        collect: None,
        stream: false,
        check: true,
        retries: 0,
        timeout: Duration::from_secs(60),
        boot_timeout: Duration::from_secs(120),
        machines: 1,
        isolation: Isolation::Shared,
        saved: None,
        fail_fast,
        cancelled: std::sync::Arc::default(),
    };
    let job =
        Job { spec: "host".into(), plan: Plan::Host { agent: &agent }, log: directory.path().join("log") };
    let events = Mutex::new(Vec::new());
    runner::run(&campaign, vec![job], &|event| events.lock().unwrap().push(event));
    let (mut rows, mut end) = (Vec::new(), None);
    for event in events.into_inner().unwrap() {
        match event {
            Event::TestEnded { test, outcome, message, .. } => rows.push((test.name, outcome, message)),
            Event::KernelEnded { error, .. } => end = error,
            _ => {}
        }
    }
    rows.sort_by(|(left, ..), (right, ..)| left.cmp(right));
    (rows, end)
}

fn row(test: &str, outcome: Outcome, message: Option<&str>) -> Row {
    (test.into(), outcome, message.map(str::to_owned))
}

#[test]
fn a_kernel_without_the_feature_runs_the_other_tests_alone() {
    let features = Features { fentry: true, ..NOTHING };
    let (rows, error) = run(features, &[("plain", PASSED)], false);
    let reason = features.lacks(Need::BpfLsm);
    assert_eq!(
        rows,
        [row("hook", Outcome::Unsupported, reason), row("plain", Outcome::Passed, None)],
        "{error:?}"
    );
    assert_eq!(error, None);
}

/// Nothing but the features decides: the test fails here, as one does whose program does not attach.
#[test]
fn a_kernel_with_the_features_runs_the_test_and_fails_with_it() {
    let features = Features { bpf_lsm: true, fentry: true, ..NOTHING };
    let (rows, error) = run(features, &[("hook", FAILED), ("plain", PASSED)], false);
    assert_eq!(
        rows.iter().map(|(test, outcome, _)| (&**test, *outcome)).collect::<Vec<_>>(),
        [("hook", Outcome::Failed), ("plain", Outcome::Passed)],
        "{error:?}"
    );
}

#[test]
fn what_is_not_run_does_not_end_a_run_that_the_first_failure_ends() {
    let (rows, error) = run(NOTHING, &[("plain", PASSED)], true);
    assert_eq!(rows[0].1, Outcome::Unsupported, "{error:?}");
    assert_eq!(rows[1].1, Outcome::Passed, "{error:?}");
}
