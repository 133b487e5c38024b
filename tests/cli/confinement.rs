//! What a guest, and the QEMU that runs it, can reach of the host.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::getuid;

use crate::support::{TestEnv, misbehaving, root};

#[test]
fn root_in_a_guest_finds_no_way_to_the_host_s_files() {
    let binary = misbehaving();
    let words = ["vm-test", "-k", "5.10", "-k", "6.12", "--binary", &binary, "confined::"];
    let stdout = TestEnv::shared().run(&words).exits_with(0).stdout;
    assert!(stdout.ends_with("\n10 passed, 0 failed\n"), "{stdout}");
}

#[test]
fn a_guest_that_lies_takes_down_its_test_alone_and_draws_and_writes_nothing() {
    let env = TestEnv::shared();
    let junit = env.path("out.xml").display().to_string();
    let binary = misbehaving();
    let words = ["-k", "6.12", "--binary", &binary, "hostile::", "--junit", &junit];
    let ran = env.vm_test(&words).exits_with(1);
    let stdout = &ran.stdout;
    let outcomes: Vec<&str> = ran.tests().iter().map(|test| test["outcome"].as_str().unwrap()).collect();
    // In the order of their names: it draws on the terminal, and it fails; the others end the talk.
    assert_eq!(outcomes, ["crashed", "failed", "crashed", "crashed"], "{stdout}");
    let steers = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    let junit = fs::read_to_string(junit).unwrap();
    for shown in [stdout, &junit] {
        assert!(shown.contains("drawn") && !shown.contains(steers), "{shown:?}");
    }
    assert!(!stdout.contains('\u{202e}'), "{stdout:?}");
    let planted =
        ["tests/guest/snapshots", "."].map(|directory| root().join(directory).join("planted.snap.new"));
    assert!(!planted.iter().any(|path| path.exists()), "{planted:?}");
}

#[test]
fn qemu_is_shut_in_and_can_write_to_nothing_but_its_guest_s_memory() {
    let env = TestEnv::shared();
    let binary = misbehaving();
    let words = ["-k", "6.12", "--binary", &binary, "failures::hangs", "--timeout", "3600"];
    let mut running = env.start(&words);
    running.prints("6.12     up ");
    let [machine] = env.machines()[..] else { panic!("there is one machine") };

    let process = format!("/proc/{machine}");
    let status = fs::read_to_string(format!("{process}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').split_whitespace().next().unwrap().to_owned()
    };
    // proc(5): 2 is a filter.
    assert_eq!((field("Seccomp"), field("NoNewPrivs")), ("2".into(), "1".into()), "{status}");
    assert_eq!(field("Uid"), getuid().to_string(), "it runs as whoever called");

    let writable: BTreeSet<String> = fs::read_dir(format!("{process}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|descriptor| is_writable(descriptor))
        .map(|descriptor| kind(&fs::read_link(descriptor).unwrap().display().to_string()))
        .collect();
    let harmless = ["anon_inode", "memory of a saved machine", "memfd", "null", "kvm", "pipe", "socket"];
    let others: Vec<&String> = writable.iter().filter(|kind| !harmless.contains(&kind.as_str())).collect();
    assert!(others.is_empty(), "{others:?} of {writable:?}");

    running.send(Signal::SIGINT);
    assert_eq!(running.ends(), Some(130));
    env.is_clean();
}

/// By the flags of open(2), which end in 0 for what is open for reading only (proc(5), `fdinfo`).
fn is_writable(descriptor: &Path) -> bool {
    let path = descriptor.display().to_string().replace("/fd/", "/fdinfo/");
    let info = fs::read_to_string(path).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim().to_owned();
    u32::from_str_radix(&flags, 8).unwrap() & 3 != 0
}

/// What a descriptor is of.
fn kind(target: &str) -> String {
    match target.split_once(':') {
        Some((kind, _)) if !target.starts_with('/') => kind.to_owned(),
        _ if target.starts_with("/memfd:") => "memfd".to_owned(),
        _ if target.starts_with("/dev/") => target.replace("/dev/", ""),
        // Mapped for the guest alone: what it writes stays with the process.
        _ if target.contains("/machines/") && target.ends_with("/memory") => {
            "memory of a saved machine".to_owned()
        }
        _ => target.to_owned(),
    }
}
