//! `cargo xtask run`: compiles a program, runs it with a workload, and shows what comes of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hooklab_types::loader::{Line, Record};
use regex::Regex;
use serde_json::Value;

use crate::support::{Ran, TestEnv, root};

/// A program that sends a record for each `write()`.
fn records() -> String {
    root().join("tests/cli/programs/records.bpf.c").to_str().unwrap().to_owned()
}

/// The tutorial's program in C.
fn minimal() -> String {
    root().join("ebpf/minimal.bpf.c").to_str().unwrap().to_owned()
}

fn run(arguments: &[&str], code: i32) -> Ran {
    TestEnv::shared().run(&[&["run"], arguments].concat()).exits_with(code)
}

/// No guest was started: what the lab does with one is told of.
fn has_started_no_guest(ran: &Ran) {
    assert_eq!(ran.stdout, "");
    assert!(!ran.stderr.contains("attached"), "{}", ran.stderr);
}

fn executable(path: &Path, content: &[u8]) -> String {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_source_that_does_not_compile_shows_the_compilers_words() {
    let env = TestEnv::shared();
    let source = env.path("wrong.bpf.c");
    fs::write(&source, "#include \"vmlinux.h\"\nint broken(void) { return nothing; }\n").unwrap();
    let ran = env.run(&["run", "-k", "6.12", source.to_str().unwrap()]).exits_with(1);
    assert!(ran.stderr.contains("wrong.bpf.c:2:27: error: use of undeclared identifier"), "{}", ran.stderr);
    assert!(ran.stderr.contains("error: failed to compile [temporary]/wrong.bpf.c"), "{}", ran.stderr);
    has_started_no_guest(&ran);
}

#[test]
fn a_program_that_no_kernel_could_load_is_refused() {
    let env = TestEnv::shared();
    let object = fs::read("/bin/true").unwrap();
    for (content, reason) in [
        (&object[..], "it is an ELF file, but not an eBPF object"),
        (&object[..40], "it is a damaged ELF file"),
        (b"no ELF", "it is not an ELF file"),
    ] {
        let path = env.path("wrong.bpf.o");
        fs::write(&path, content).unwrap();
        let ran = env.run(&["run", "-k", "6.12", path.to_str().unwrap()]).exits_with(1);
        assert!(ran.stderr.contains(reason), "{}", ran.stderr);
        has_started_no_guest(&ran);
    }
}

#[test]
fn a_command_that_no_guest_could_run_is_refused() {
    let env = TestEnv::shared();
    let mut foreign = fs::read("/bin/true").unwrap();
    // e_machine of elf(5): that of AArch64.
    foreign[18] = 0xB7;
    let foreign = executable(&env.path("foreign"), &foreign);
    let script = executable(&env.path("script"), b"#!/no/such/interpreter\n");
    for (command, reason) in [
        ("no-such-command", "failed to find the command no-such-command on PATH"),
        ("/no/such/command", "there is no such file"),
        (foreign.as_str(), "it is not a program for x86-64"),
        (script.as_str(), "its interpreter /no/such/interpreter does not exist"),
    ] {
        let ran = env.run(&["run", "-k", "6.12", &minimal(), "--", command]).exits_with(2);
        assert!(ran.stderr.contains(reason), "{command}: {}", ran.stderr);
        has_started_no_guest(&ran);
    }
}

#[test]
fn a_commands_output_and_exit_code_are_shown() {
    let script = "echo to-output $1; echo to-error >&2; exit 3";
    let ran =
        run(&["-k", "6.12", "--pid-filter", "command", &minimal(), "--", "sh", "-c", script, "x", "word"], 1);
    assert!(ran.stdout.contains("\nto-output word\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("to-error\n"), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("error: 6.12: sh exited with 3\n"), "{}", ran.stderr);
    let pid = Regex::new(r"(?m)^(\d+) runs sh -c ").unwrap().captures(&ran.stdout).unwrap()[1].to_owned();
    // The shell writes its two lines, and nobody else is printed.
    let printed = ran.stdout.matches("BPF triggered").count();
    assert_eq!(ran.stdout.matches(&format!("from PID {pid}.\n")).count(), 2, "{}", ran.stdout);
    assert_eq!(printed, 2, "{}", ran.stdout);
}

#[test]
fn a_script_and_a_file_come_along() {
    let env = TestEnv::shared();
    let script = executable(&env.path("script"), b"#!/bin/sh -e\nread line <data/file; echo \"$line\"\n");
    let file = env.path("file");
    fs::write(&file, "what the file says\n").unwrap();
    let file = format!("{}:data/file", file.display());
    let ran = env.run(&["run", "-k", "6.12", "--file", &file, &minimal(), "--", &script]).exits_with(0);
    assert!(ran.stdout.contains("\nwhat the file says\n"), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn a_command_without_end_is_killed() {
    let ran = run(&["-k", "6.12", "--timeout", "1", &minimal(), "--", "sh", "-c", "while :; do :; done"], 1);
    assert!(
        ran.stderr.ends_with("error: 6.12: sh did not end within 1 s, and was killed\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_flood_is_cut_and_the_result_is_known() {
    let flood = "x=$(printf %9000s x); i=0; while [ $i -lt 1200 ]; do echo \"$x\"; i=$((i+1)); done; exit 4";
    let ran = run(&["-k", "6.12", "--pid-filter", "1", &minimal(), "--", "sh", "-c", flood], 1);
    assert!(ran.stdout.len() < 9 << 20, "{} bytes", ran.stdout.len());
    assert!(ran.stderr.contains("more lines are not shown: there were too many\n"), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("error: 6.12: sh exited with 4\n"), "{}", ran.stderr);
}

#[test]
fn records_are_decoded_on_an_old_and_a_new_kernel() {
    let ran = run(&["-k", "5.10", "-k", "6.12", "--format", "json", &records()], 0);
    let lines: Vec<(String, Line)> = ran
        .stdout
        .lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line).unwrap();
            (value["kernel"].as_str().unwrap().to_owned(), serde_json::from_str(line).unwrap())
        })
        .collect();
    for spec in ["5.10", "6.12"] {
        let actors =
            Regex::new(&format!(r"(?m)^{}: (\d+) writes 3 times, (\d+) writes 2 times", regex::escape(spec)));
        let actors = actors.unwrap();
        let actors = actors.captures(&ran.stderr).unwrap();
        let of_kernel = lines.iter().filter(|(kernel, _)| kernel == spec).map(|(_, line)| line);
        let records: Vec<&Record> = of_kernel
            .filter_map(|line| match line {
                Line::Record(record) => Some(record),
                _ => None,
            })
            .collect();
        assert_eq!(records.len(), 5, "{}", ran.stdout);
        for (actor, count) in [(&actors[1], 3), (&actors[2], 2)] {
            let of_actor = records.iter().filter(|record| {
                record.type_name.as_deref() == Some("written")
                    && record.bytes == 24
                    && record.value.contains(&format!(".pid = (int){actor},"))
                    && record.value.contains("demo")
            });
            assert_eq!(of_actor.count(), count, "{spec}: {}", ran.stdout);
        }
    }
}

#[test]
fn each_line_tells_its_kernel_and_kernels_do_not_mix() {
    let ran = run(&["-k", "6.12", "-k", "5.10", "--stimulus", "write", &minimal()], 0);
    let kernels: Vec<&str> = ran.stdout.lines().map(|line| line.split_once(": ").unwrap().0).collect();
    assert_eq!(kernels.len(), 14, "{}", ran.stdout);
    let (new, old) = kernels.split_at(7);
    assert!(new[0].starts_with("6.12.") && new[1..].iter().all(|kernel| *kernel == "6.12"), "{}", ran.stdout);
    assert!(old[0].starts_with("5.10.") && old[1..].iter().all(|kernel| *kernel == "5.10"), "{}", ran.stdout);
}
