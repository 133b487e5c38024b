//! The command line as far as it needs no kernel: every case is refused before the kernel is involved.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use insta::assert_snapshot;

/// The program of the checkout that is tested, which may be another than the one that this was compiled in.
fn program() -> OsString {
    std::env::var_os("CARGO_BIN_EXE_hooklab-loader").expect("cargo sets it")
}

/// Runs the loader and returns its exit code and its output.
fn run(arguments: &[&str]) -> String {
    // In 256 MiB, the memory of a guest: no file may cost more, whatever it claims.
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -v 262144; exec "$@""#, "sh"]).arg(program());
    command.args(arguments);
    let assert = assert_cmd::Command::from_std(command).assert();
    let output = assert.get_output();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("it exits");
    format!("exit code {code}\n{}{}", text(&output.stdout), text(&output.stderr))
}

/// Runs the loader on a file with these bytes, whose path is replaced by `FILE` in the output.
fn run_on(bytes: &[u8]) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("object.bpf.o");
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
fn a_directory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    assert_snapshot!("directory", run_on_path(directory.path()));
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
fn an_empty_package() {
    assert_snapshot!("empty-package", run_on_package(b""));
}

#[test]
fn a_package_without_an_object() {
    assert_snapshot!("package-without-object", run_on_package(br#"{"meta":{},"bpf_object_size":1}"#));
}

#[test]
fn a_package_whose_object_is_no_object() {
    // Five letters, compressed.
    let package = br#"{"meta":{},"bpf_object_size":5,"bpf_object":"eJzLSM3JyQcABiwCFQ=="}"#;
    assert_snapshot!("package-of-no-object", run_on_package(package));
}

#[test]
fn an_enormous_package() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("package.json");
    fs::File::create(&file).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    assert_snapshot!("enormous-package", run_on_path(&file));
}

#[test]
fn a_package_that_inflates_without_end() {
    // It states the maximum, and inflates to more than the available memory.
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    io::copy(&mut io::repeat(0).take(300 << 20), &mut encoder).expect("memory does not fail");
    let stream = STANDARD.encode(encoder.finish().expect("memory does not fail"));
    let package = format!(r#"{{"meta":{{}},"bpf_object_size":67108864,"bpf_object":"{stream}"}}"#);
    assert_snapshot!("bomb", run_on_package(package.as_bytes()));
}

/// Runs the loader on a file of that name.
fn run_on_package(bytes: &[u8]) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("package.json");
    fs::write(&file, bytes).expect("write a file");
    run_on_path(&file)
}

#[test]
fn a_program_for_another_machine() {
    let own = fs::read(program()).expect("it is there");
    assert_snapshot!("not-ebpf", run_on(&own));
}
