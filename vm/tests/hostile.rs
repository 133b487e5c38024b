//! Guests that lie, flood and violate the protocol: whatever comes over the port, each test gets a verdict in the end, from
//! a limited number of machines, in limited memory. A script replaces the agent; it sends real bytes to the code that reads
//! them from every guest.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hooklab_protocol::{self as protocol, Exit, Features, Report, SideEffects};
use hooklab_vm::TestId;
use hooklab_vm::event::{Event, KernelError, Outcome};
use hooklab_vm::machine::Plan;
use hooklab_vm::runner::{self, Campaign, Isolation, Job};
use tempfile::TempDir;

/// Time limit for a test.
const LIMIT: Duration = Duration::from_secs(1);

/// How long a guest may take to become ready, on a busy host.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// A run that has not ended by then never will. On an idle host each takes some seconds.
const NEVER: Duration = Duration::from_secs(300);

/// Most bytes of memory for this process: with all that guests may send it takes a third of that.
const MEMORY_BYTES: u64 = 400 << 20;

/// A guest that sends these bytes, and then runs shell commands.
struct Guest {
    directory: TempDir,
}

impl Guest {
    fn new(sends: &[u8], then: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("sends"), sends).unwrap();
        let script = format!("#!/bin/sh\ncd {}\ncat sends\n{then}\n", directory.path().display());
        fs::write(directory.path().join("agent"), script).unwrap();
        fs::set_permissions(directory.path().join("agent"), Permissions::from_mode(0o755)).unwrap();
        Self { directory }
    }

    /// Adds a file for its script.
    fn with(self, name: &str, content: &[u8]) -> Self {
        fs::write(self.directory.path().join(name), content).unwrap();
        self
    }

    /// Requests that it run two tests, `a` and `b`.
    fn run(&self) -> Observed {
        self.run_within(LIMIT)
    }

    /// The same, with another time limit for a test.
    fn run_within(&self, limit: Duration) -> Observed {
        self.run_asked_for_files(limit, true)
    }

    fn run_asked_for_files(&self, limit: Duration, collect: bool) -> Observed {
        let cancelled = Arc::new(AtomicBool::new(false));
        let campaign = Campaign {
            payload: &[0; 1024],
            tests: ["a", "b"].map(|name| TestId { binary: "guest".into(), name: name.into() }).to_vec(),
            needs: BTreeMap::new(),
            whole: BTreeMap::new(),
            env: Vec::new(),
            collect: collect.then(|| "workspace".into()),
            check: true,
            stream: false,
            retries: 0,
            timeout: limit,
            boot_timeout: BOOT_LIMIT,
            machines: 1,
            isolation: Isolation::Shared,
            saved: None,
            fail_fast: false,
            cancelled: Arc::clone(&cancelled),
        };
        let agent = self.directory.path().join("agent");
        let log = self.directory.path().join("log");
        let job = Job { spec: "host".into(), plan: Plan::Host { agent: &agent }, log };
        let events = Mutex::new(Vec::new());
        let (ended, end) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let cancelled = &cancelled;
            scope.spawn(move || {
                // At the end of the run the other half of the channel is dropped.
                if end.recv_timeout(NEVER) == Err(RecvTimeoutError::Timeout) {
                    cancelled.store(true, Ordering::Relaxed);
                }
            });
            runner::run(&campaign, vec![job], &|event| events.lock().unwrap().push(event));
            drop(ended);
        });
        assert!(!cancelled.load(Ordering::Relaxed), "it has not ended after {NEVER:?}");
        Observed { events: events.into_inner().unwrap() }
    }

    fn log(&self) -> std::path::PathBuf {
        self.directory.path().join("log")
    }
}

/// The events of a run.
struct Observed {
    events: Vec<Event>,
}

impl Observed {
    fn results(&self) -> Vec<(&str, Outcome, &str)> {
        let result = |event| match event {
            &Event::TestEnded { ref test, outcome, ref message, .. } => {
                Some((test.name.as_str(), outcome, message.as_deref().unwrap_or_default()))
            }
            _ => None,
        };
        self.events.iter().filter_map(result).collect()
    }

    fn starts(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::KernelUp { .. })).count()
    }

    fn error(&self) -> Option<&KernelError> {
        self.events.iter().find_map(|event| match event {
            Event::KernelEnded { error, .. } => error.as_ref(),
            _ => None,
        })
    }

    /// Nothing passed, and few machines were started.
    fn is_no_success(&self) {
        assert!(
            self.results().iter().all(|(_, outcome, _)| *outcome != Outcome::Passed),
            "{:?}",
            self.results()
        );
        assert!(self.results().len() == 2 || self.error().is_some(), "{:?}", self.results());
        assert!(self.starts() <= 4, "{} machines", self.starts());
    }
}

fn bytes_of(reports: &[Report]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for report in reports {
        protocol::send(&mut bytes, report).unwrap();
    }
    bytes
}

fn ready() -> [Report; 2] {
    [report_ready("6.12".into()), Report::Loaded]
}

fn report_ready(release: String) -> Report {
    let features =
        Features { btf: true, tracefs: true, bpf_lsm: true, bpf_jit: true, kprobes: true, fentry: true };
    Report::Ready { protocol: protocol::VERSION, release, features, shared_memory_bytes: 0 }
}

/// A guest that is ready, and has started a test.
fn begun() -> Vec<u8> {
    let started = Report::Started { test: "a".into() };
    [bytes_of(&ready()), bytes_of(&[started])].concat()
}

fn ended(test: &str, output: &str) -> Report {
    let (exit, micros, output) = (Exit::Code(0), u64::MAX, output.to_owned());
    Report::Ended { test: test.into(), exit, micros, output, side_effects: SideEffects::default() }
}

/// A frame of this content, whatever it is.
fn frame(content: &[u8]) -> Vec<u8> {
    [&u32::try_from(content.len()).unwrap().to_le_bytes(), content].concat()
}

#[test]
fn malformed_messages_fail_the_test_that_runs() {
    for sends in [b"\xff\xff\xff\xff".to_vec(), frame(b"\x00\xff{"), frame(b"{\"ended\":7}"), frame(b"")] {
        let observed = Guest::new(&[begun(), sends].concat(), "exec sleep 600").run();
        observed.is_no_success();
        let (test, outcome, message) = observed.results()[0];
        assert_eq!((test, outcome), ("a", Outcome::Crashed));
        assert!(message.contains("violated the protocol"), "{message}");
    }
}

#[test]
fn deep_nesting_overflows_no_stack() {
    for before in ["", "{\"ready\":", "{\"started\":{\"test\":", "{\"ended\":{\"x\":"] {
        let mut deep = before.as_bytes().to_vec();
        deep.resize(protocol::MAX_FRAME, b'[');
        let observed = Guest::new(&[begun(), frame(&deep)].concat(), "exec sleep 600").run();
        observed.is_no_success();
        assert!(observed.results()[0].2.contains("violated the protocol"), "{:?}", observed.results()[0]);
    }
}

#[test]
fn an_incomplete_message_times_the_test_out() {
    let observed = Guest::new(&[begun(), vec![200, 0, 0, 0, b'{']].concat(), "exec sleep 600").run();
    observed.is_no_success();
    assert_eq!(observed.results()[0].1, Outcome::TimedOut);
}

#[test]
fn unexpected_reports_make_no_test_pass() {
    let passed = "test result: ok. 1 passed; 0 failed; 0 ignored";
    let again = Report::Started { test: "a".into() };
    for sends in [
        vec![Report::Done],
        vec![ended("b", passed)],
        vec![again, ended("a", "")],
        vec![Report::Settling, Report::Settling],
        ready().to_vec(),
        vec![Report::Problem { message: "\u{1b}]0;no\u{7}".repeat(1 << 16) }],
    ] {
        let observed = Guest::new(&[begun(), bytes_of(&sends)].concat(), "exec sleep 600").run();
        observed.is_no_success();
        let (_, outcome, message) = observed.results()[0];
        assert_eq!(outcome, Outcome::Crashed, "{sends:?}");
        assert!(message.len() < 4096 && !message.contains('\u{1b}'), "{} bytes", message.len());
    }
}

#[test]
fn a_release_cannot_control_the_terminal() {
    let release = format!("6.12\u{1b}[2J\r\n{}", "x".repeat(1 << 20));
    let observed = Guest::new(&bytes_of(&[report_ready(release), Report::Loaded]), "exec sleep 600").run();
    let Some(Event::KernelUp { release, .. }) = observed.events.get(1) else {
        panic!("{:?}", observed.events)
    };
    assert!(release.starts_with("6.12[2J x") && release.len() < 1000, "{release:?}");
}

#[test]
fn an_impossible_duration_is_corrected() {
    let passed = "test result: ok. 1 passed; 0 failed; 0 ignored";
    let b = Report::Started { test: "b".into() };
    let reports = bytes_of(&[ended("a", passed), Report::Done, b, ended("b", passed), Report::Done]);
    let begin = Instant::now();
    let observed = Guest::new(&[begun(), reports].concat(), "exec sleep 600").run();
    let took = begin.elapsed();
    assert_eq!(observed.error(), None);
    for event in &observed.events {
        if let Event::TestEnded { duration, .. } = event {
            assert!(*duration <= took, "{duration:?} of {took:?}");
        }
    }
}

#[test]
fn endless_reports_take_neither_time_nor_memory() {
    let file = |bytes: usize| {
        let path = "tests/guest/snapshots/x.snap.new".to_owned();
        bytes_of(&[Report::File { path, content: "x".repeat(bytes) }])
    };
    // Few long ones, and many short ones, of which some are always waiting.
    for files in [file(512 << 10).repeat(4), file(0).repeat(1 << 14), begun()] {
        Guest::new(&begun(), "while :; do cat files; done").with("files", &files).run().is_no_success();
    }
    let peak = peak_memory();
    assert!(peak < MEMORY_BYTES, "{} MiB", peak >> 20);
}

#[test]
fn an_unrequested_file_violates_the_protocol() {
    let file = Report::File { path: "tests/guest/snapshots/x.snap.new".into(), content: "x".into() };
    let guest = Guest::new(&[begun(), bytes_of(&[file])].concat(), "exec sleep 600");
    let observed = guest.run_asked_for_files(LIMIT, false);
    observed.is_no_success();
    assert_eq!(observed.results()[0].1, Outcome::Crashed);
    assert!(!observed.events.iter().any(|event| matches!(event, Event::File { .. })));
}

#[test]
fn unrequested_output_violates_the_protocol() {
    let output = Report::Output { text: "x".into() };
    let guest = Guest::new(&[begun(), bytes_of(&[output])].concat(), "exec sleep 600");
    let observed = guest.run_asked_for_files(LIMIT, true);
    observed.is_no_success();
    assert_eq!(observed.results()[0].1, Outcome::Crashed);
    assert!(!observed.events.iter().any(|event| matches!(event, Event::Output { .. })));
}

#[test]
fn the_sum_of_files_is_limited() {
    let passed = "test result: ok. 1 passed; 0 failed; 0 ignored";
    let path = "tests/guest/snapshots/x.snap.new".to_owned();
    let files = bytes_of(&[Report::File { path, content: "x".repeat(512 << 10) }]).repeat(16);
    let b = Report::Started { test: "b".into() };
    let end = bytes_of(&[ended("a", passed), Report::Done, b, ended("b", passed), Report::Done]);
    let guest =
        Guest::new(&begun(), "for i in 1 2 3 4 5 6 7 8 9 10; do cat files; done; cat end; exec sleep 600");
    let observed = guest.with("files", &files).with("end", &end).run_within(BOOT_LIMIT);
    assert_eq!(observed.results()[0].1, Outcome::Passed);
    let sizes = observed.events.iter().filter_map(|event| match event {
        Event::File { content, .. } => Some(content.len()),
        _ => None,
    });
    let sum: usize = sizes.sum();
    assert!((32 << 20..=64 << 20).contains(&sum), "{sum} bytes");
}

#[test]
fn an_endless_console_fills_no_disk() {
    for line in ["Kernel panic - not syncing: again".to_owned(), "x".repeat(4000)] {
        let guest = Guest::new(&begun(), "exec 1>&2; while :; do cat lines; done");
        let guest = guest.with("lines", format!("{line}\n").repeat(1 << 10).as_bytes());
        let observed = guest.run_within(3 * LIMIT);
        observed.is_no_success();
        assert!(fs::metadata(guest.log()).unwrap().len() <= 64 << 20);
    }
}

/// The most memory that this process ever held (proc(5), `VmHWM`).
fn peak_memory() -> u64 {
    let status = fs::read_to_string(Path::new("/proc/self/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
