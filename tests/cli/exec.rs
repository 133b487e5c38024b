//! `cargo xtask exec`: commands of the host in guests, with their exit code as the verdict.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use rstest::rstest;

use crate::support::{Ran, TestEnv};

/// Runs `exec` with a report.
fn exec(env: &TestEnv, arguments: &[&str]) -> Ran {
    let json = env.json().display().to_string();
    env.run(&[&["exec", "--json", &json], arguments].concat())
}

/// Runs a line of shell on 6.12.
fn shell(env: &TestEnv, options: &[&str], line: &str) -> Ran {
    exec(env, &[&["-k", "6.12"], options, &["--", "sh", "-c", line]].concat())
}

fn executable(path: &Path, content: &[u8]) -> String {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn only(ran: &Ran) -> (&str, &str) {
    let [test] = ran.tests() else { panic!("one row: {}", ran.stdout) };
    (test["outcome"].as_str().unwrap(), test["message"].as_str().unwrap_or_default())
}

#[rstest]
#[case::passed("printf un; echo seen", 0, "passed", "")]
#[case::failed("echo no map >&2; exit 3", 1, "failed", "it exited with 3\nno map")]
#[case::unsupported("echo trying; echo no such hook; exit 77", 0, "unsupported", "no such hook")]
#[case::crashed("kill -SEGV $$", 1, "crashed", "killed by signal 11")]
#[case::timed_out("echo slow; while :; do :; done", 1, "timed-out", "killed at its time limit of 2s\nslow")]
fn the_exit_code_is_the_verdict(
    #[case] line: &str,
    #[case] code: i32,
    #[case] outcome: &str,
    #[case] message: &str,
) {
    let env = TestEnv::shared();
    let ran = shell(&env, &["--timeout", "2"], line).exits_with(code);
    assert_eq!(only(&ran), (outcome, message));
    let shown = message.replace('\n', "\n    ");
    assert!(ran.stdout.contains(&shown) && !ran.stdout.contains("unseen"), "{}", ran.stdout);
    assert_eq!(ran.stdout.contains("1 unsupported"), outcome == "unsupported", "{}", ran.stdout);
}

#[test]
fn a_kernel_has_the_words_that_are_appended() {
    let env = TestEnv::shared();
    let line = "read -r line </proc/cmdline; case $line in *' hooklab.word=1') ;; *) exit 1;; esac";
    let ran = shell(&env, &["--append", "hooklab.word=1"], line).exits_with(0);
    assert_eq!(ran.kernel()["append"], "hooklab.word=1");
}

#[test]
fn a_command_that_leaves_something_has_leaked_whatever_it_exits_with() {
    let env = TestEnv::shared();
    for code in ["0", "77"] {
        let ran = shell(&env, &[], &format!("(while :; do :; done) & exit {code}")).exits_with(1);
        let (outcome, message) = only(&ran);
        assert!(outcome == "leaked" && message.contains("it leaked:\nprocess "), "{outcome}: {message}");
    }
}

#[test]
fn what_no_guest_could_run_is_refused_before_one_is_started() {
    let env = TestEnv::shared();
    let mut foreign = fs::read("/bin/true").unwrap();
    // The machine of an ELF header: AArch64.
    foreign[18..20].copy_from_slice(&183_u16.to_le_bytes());
    let foreign = executable(&env.path("foreign"), &foreign);
    let lost = executable(&env.path("lost"), b"#!/no/such/interpreter\n");
    let large = env.path("large").display().to_string();
    fs::File::create(&large).unwrap().set_len(100 << 20).unwrap();
    let cases: [(&[&str], &str); 7] = [
        (&["--", "no-such-command"], "failed to find the command no-such-command on PATH"),
        (&["--", &foreign], "is not a program for x86-64"),
        (&["--", &lost], "its interpreter /no/such/interpreter does not exist"),
        (&["--file", "/no/such/file", "--", "true"], "there is no file /no/such/file"),
        (&["--file", "Cargo.toml:/proc/x", "--", "true"], "that path is the guest's own"),
        (&["--file", &large, "--", "true"], "more than 96 MiB, and a guest takes in no more"),
        (&[], "<COMMAND>..."),
    ];
    for (arguments, said) in cases {
        let ran = exec(&env, &[&["-k", "6.12"], arguments].concat()).exits_with(2);
        assert!(ran.stderr.contains(said) && ran.stdout.is_empty(), "{said}: {}", ran.stderr);
        assert!(ran.report.is_null());
    }
}

#[test]
fn a_script_has_its_arguments_its_environment_its_files_and_a_row_for_each_kernel() {
    let env = TestEnv::shared();
    let other = env.directory("other");
    fs::write(other.join("deep"), "linked\n").unwrap();
    fs::write(other.join("hosts"), "127.0.0.1 mine\n").unwrap();
    let data = env.directory("data");
    fs::write(data.join("plain"), "plain\n").unwrap();
    symlink(&other, data.join("link")).unwrap();
    let script = executable(
        &env.path("check"),
        b"#!/bin/sh -e\n\
          echo \"$# $1 $2 $NAME $(pwd)\"\n\
          read -r plain <\"$3/plain\"; read -r deep <\"$3/link/deep\"\n\
          read -r near <near/plain; read -r far </far; read -r hosts </etc/hosts\n\
          echo \"$plain $deep $near $far $hosts\"\n\
          read -r release </proc/sys/kernel/osrelease\n\
          case $release in 5.10.*) echo too old; exit 1;; esac\n",
    );
    let place = |name: &str, to: &str| format!("{}:{to}", env.path(name).display());
    let data = data.display().to_string();
    let (near, far) = (place("data", "near"), place("other/deep", "/far"));
    let hosts = place("other/hosts", "/etc/hosts");
    let files = ["--file", &data, "--file", &near, "--file", &far, "--file", &hosts];
    let command = ["--env", "NAME=a value", "--show-output", "--", &script, "one", "two words", &data];
    let ran = exec(&env, &[&["-k", "5.10", "-k", "6.12"], &files[..], &command].concat()).exits_with(1);
    let said = "3 one two words a value [root]\n    plain linked plain linked 127.0.0.1 mine\n";
    assert!(ran.stdout.contains(&format!("output on 6.12:\n    {said}")), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("it exited with 1\n    {said}    too old\n")), "{}", ran.stdout);
    let kernels = ran.report["kernels"].as_array().unwrap();
    let outcomes = kernels.iter().map(|kernel| format!("{} {}", kernel["spec"], kernel["outcome"]));
    let outcomes: Vec<String> = outcomes.map(|line| line.replace('"', "")).collect();
    assert_eq!(outcomes, ["5.10 failed", "6.12 passed"]);
}

#[test]
fn a_guest_offers_what_its_page_says() {
    let env = TestEnv::shared();
    let script = executable(&env.path("guest"), include_bytes!("programs/guest.sh"));
    for kernel in ["5.10", "6.12"] {
        let ran = exec(&env, &["-k", kernel, "--show-output", "--", &script]).exits_with(0);
        assert!(ran.stdout.contains("all of it"), "{}", ran.stdout);
    }
}
