//! What only concerns upstream's `ecli`, a process beside the loader: what it is handed, and its end.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;

use crate::support::{Actor, KernelObjects, PidLabels, Run, Trace, assert_snapshot, refusal_of};

#[rstest]
#[case::ecli("ecli")]
fn the_common_flag_becomes_one_of_the_package(#[case] loader: &str) {
    let (mut writer, mut other) = (Actor::start(), Actor::start());
    let labels = PidLabels::new([(writer.pid(), "writer"), (other.pid(), "other")]);
    let mut trace = Trace::start();
    let attached = Run::new(loader, "minimal").filter(writer.pid()).by_common_flag().attach();

    other.write(2);
    writer.write(3);

    assert_snapshot!("one-pid", labels.normalize(&trace.read()));
    attached.detach();
}

#[rstest]
#[case::ecli("ecli")]
fn it_is_missed_where_it_is_not(#[case] loader: &str) {
    let mut command = Run::new(loader, "minimal").command();
    command.env("HOOKLAB_ECLI", "/no/such/ecli");
    let expected = "exit code 14\nerror: failed to start `/no/such/ecli`; build ecli with `cargo install ecli-rs --version \
                    0.2.9 --locked`, and put it on PATH or name it in HOOKLAB_ECLI: No such file or directory (os \
                    error 2)\n";
    assert_eq!(refusal_of(command), expected);
}

/// Its engine fills no `.data`.
#[rstest]
#[case::ecli("ecli")]
fn it_gives_up_on_a_program_with_data(#[case] loader: &str) {
    let before = KernelObjects::now();
    let refusal = Run::new(loader, "counter").refusal();
    let expected = "exit code 13\nerror: failed to run `counter.package.json` with ecli: it ended by itself (exit \
                    status: 1); ";
    assert!(refusal.starts_with(expected) && refusal.contains("Unsupported section: .data"), "{refusal}");
    KernelObjects::wait_for_none_since(&before);
}

#[rstest]
#[case::ecli("ecli")]
fn the_loader_does_not_go_on_without_it(#[case] loader: &str) {
    let before = KernelObjects::now();
    let mut command = Run::new(loader, "minimal").command();
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start hooklab-loader");
    let input = process.stdin.take();
    let mut line = String::new();
    let mut output = BufReader::new(process.stdout.take().expect("it is piped"));
    output.read_line(&mut line).expect("the loader prints text");
    assert!(!line.is_empty(), "the loader did not attach");

    kill(only_child_of(process.id()), Signal::SIGKILL).expect("ecli runs");

    let ended = process.wait_with_output().expect("it is our child");
    drop(input);
    assert_eq!(ended.status.code(), Some(13));
    let expected =
        "error: failed to keep the programs attached with ecli: it ended by itself (signal: 9 (SIGKILL))\n";
    assert_eq!(String::from_utf8_lossy(&ended.stderr), expected);
    KernelObjects::wait_for_none_since(&before);
}

/// The process whose parent this is (proc_pid_stat(5), the second field after the name).
fn only_child_of(parent: u32) -> Pid {
    let processes = fs::read_dir("/proc").expect("procfs is mounted").flatten();
    let mut children = processes.filter_map(|process| {
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        let (_, columns) = stat.rsplit_once(") ")?;
        let is_its = columns.split(' ').nth(1)?.parse() == Ok(parent);
        is_its.then(|| process.file_name().to_str()?.parse().ok()).flatten()
    });
    let child = children.next().expect("the loader has a child");
    assert_eq!(children.next(), None, "the loader has one child");
    Pid::from_raw(child)
}
