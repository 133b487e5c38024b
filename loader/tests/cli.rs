//! The command line, as far as no kernel is needed: everything here is refused before one is asked.

use std::fs;
use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;

/// Runs the loader and gives its exit code and all that it says.
fn run(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hooklab-loader"));
    command.args(arguments);
    let assert = assert_cmd::Command::from_std(command).assert();
    let output = assert.get_output();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("it exits");
    format!("exit code {code}\n{}{}", text(&output.stdout), text(&output.stderr))
}

/// Runs the loader on a file with these bytes, whose path reads `FILE` in what it says.
fn run_on(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("object.bpf.o");
    fs::write(&file, bytes).expect("write a file");
    run_on_path(&file)
}

fn run_on_path(path: &Path) -> String {
    let path = path.to_str().expect("UTF-8");
    run(&["run", "--loader", "aya", path]).replace(path, "FILE")
}

#[test]
fn help() {
    assert_snapshot!("help", run(&["run", "--help"]));
}

#[test]
fn no_arguments() {
    assert_snapshot!("no-arguments", run(&[]));
}

#[test]
fn an_unknown_loader() {
    assert_snapshot!("unknown-loader", run(&["run", "--loader", "ld", "x.bpf.o"]));
}

#[test]
fn pids_that_are_none() {
    let with = |pid| run(&["run", "--loader", "aya", "--pid-filter", pid, "x.bpf.o"]);
    assert_snapshot!("negative-pid", with("-1"));
    assert_snapshot!("pid-zero", with("0"));
    assert_snapshot!("pid-garbage", with("init"));
}

#[test]
fn no_such_file() {
    assert_snapshot!("no-such-file", run_on_path(Path::new("/nonexistent/object.bpf.o")));
}

#[test]
fn a_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert_snapshot!("folder", run_on_path(folder.path()));
}

#[test]
fn not_an_elf_file() {
    assert_snapshot!("not-elf", run_on(b"int main;\n"));
}

#[test]
fn an_empty_file() {
    assert_snapshot!("empty-file", run_on(b""));
}

#[test]
fn a_program_for_another_machine() {
    let own = fs::read(env!("CARGO_BIN_EXE_hooklab-loader")).expect("it is there");
    assert_snapshot!("not-ebpf", run_on(&own));
}
