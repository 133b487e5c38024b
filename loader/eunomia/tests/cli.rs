//! The command line of the loaders eunomia and ecli, as far as it needs no kernel, with packages created by `ecc`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hooklab_loader::Package;
use insta::assert_snapshot;
use serde_json::{Value, json};

/// The package in the checkout that is tested, which may be another than the one that this was compiled in.
fn manifest_directory() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it").into()
}

/// The program that is tested.
fn program() -> OsString {
    std::env::var_os("CARGO_BIN_EXE_hooklab-loader-eunomia").expect("cargo sets it")
}

/// A package of `tests/packages`.
fn fixture(name: &str) -> PathBuf {
    manifest_directory().join("../../tests/packages").join(name).join("package.json")
}

/// Runs the loader eunomia on a file with these arguments after it, and returns its exit code and its output.
fn run(file: &Path, arguments: &[&str]) -> String {
    run_by("eunomia", file, arguments)
}

fn run_by(loader: &str, file: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program());
    command.args(["run", "--loader", loader]).arg(file).args(arguments);
    // If it were started, it would be missing.
    command.env("HOOKLAB_ECLI", "/no/such/ecli");
    let assert = assert_cmd::Command::from_std(command).assert();
    let output = assert.get_output();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("it exits");
    let said = format!("exit code {code}\n{}{}", text(&output.stdout), text(&output.stderr));
    said.replace(file.to_str().expect("UTF-8"), "FILE").replace("hooklab-loader-eunomia", "hooklab-loader")
}

/// Runs it on a package of `ecc`'s whose variables are these instead.
fn run_with_variables(variables: &Value) -> String {
    run_with_section(&json!({ "name": ".rodata", "variables": variables }))
}

/// Runs it on a package of `ecc`'s whose data section is this one instead.
fn run_with_section(section: &Value) -> String {
    let text = fs::read(fixture("ecc-const-volatile")).expect("it is there");
    let mut package: Value = serde_json::from_slice(&text).expect("it is JSON");
    package["meta"]["bpf_skel"]["data_sections"][0] = section.clone();
    let file = tempfile::Builder::new().suffix(".json").tempfile().expect("a temporary file");
    fs::write(file.path(), package.to_string()).expect("write a file");
    run(file.path(), &["--pid_filter", "1"])
}

#[test]
fn help_lists_the_flags_of_the_package_with_their_types() {
    assert_snapshot!("help", run(&fixture("ecc-const-volatile"), &["--help"]));
}

#[test]
fn a_flag_that_the_package_does_not_have() {
    assert_snapshot!("unknown-flag", run(&fixture("ecc-const-volatile"), &["--pid_filtre", "1"]));
}

#[test]
fn a_value_that_is_not_of_the_variables_type() {
    let run = |value| run(&fixture("ecc-const-volatile"), &["--", "--pid_filter", value]);
    assert_snapshot!("wrong-value", run("init"));
    assert_snapshot!("value-too-large", run("2147483648"));
}

#[test]
fn the_same_variable_by_two_flags() {
    let file = fixture("ecc-const-volatile");
    let mut command = Command::new(program());
    command.args(["run", "-l", "eunomia", "--pid-filter", "1"]).arg(&file).args(["--pid_filter", "2"]);
    assert_cmd::Command::from_std(command).assert().code(2);
}

#[test]
fn a_constant_folded_variable_is_refused_before_the_engine_is_asked() {
    assert_snapshot!("constant-folded", run(&fixture("ecc-const"), &["--pid_filter", "1"]));
}

#[test]
fn ecli_is_not_started_for_what_is_refused_with_the_engine() {
    let lines: [(&str, &[&str]); 4] = [
        ("ecc-const", &["--pid_filter", "1"]),
        ("ecc-const-volatile", &["--pid_filtre", "1"]),
        ("ecc-const-volatile", &["--pid_filter", "init"]),
        ("ecc-const-volatile", &["--", "--help"]),
    ];
    for (name, arguments) in lines {
        let eunomia = run(&fixture(name), arguments).replace("--loader eunomia", "--loader ecli");
        assert_eq!(run_by("ecli", &fixture(name), arguments), eunomia);
    }
}

#[test]
fn an_object_alone() {
    let package = fs::read(fixture("ecc-const-volatile")).expect("it is there");
    let package = Package::decode(&package).expect("it is sound");
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), package.object).expect("write a file");
    assert_snapshot!("object-alone", run(file.path(), &[]));
}

#[test]
fn variables_that_the_object_does_not_have() {
    let variables = json!([{ "name": "pid_filter", "type": "pid_t", "cmdarg": { "long": "other" } },
                           { "name": "pid_filtre", "type": "int", "cmdarg": { "long": "pid_filter" } }]);
    assert_snapshot!("no-variable", run_with_variables(&variables));
}

#[test]
fn a_variable_of_a_section_that_the_engine_does_not_fill() {
    let variables = json!([{ "name": "pid_filter", "type": "pid_t" }]);
    assert_snapshot!("data", run_with_section(&json!({ "name": ".data", "variables": variables })));
}

#[test]
fn flags_that_would_mean_two_things() {
    let pid = json!({ "name": "pid_filter", "type": "pid_t" });
    assert_snapshot!(
        "taken-by-the-engine",
        run_with_variables(&json!([{ "name": "verbose", "type": "int" }]))
    );
    assert_snapshot!("taken-by-another", run_with_variables(&json!([pid, pid])));
}

#[test]
fn a_description_that_the_engine_does_not_take() {
    assert_snapshot!("no-description", run_with_variables(&json!("none")));
    let variables = json!([{ "name": "pid_filter", "type": "pid_t", "value": [1] }]);
    assert_snapshot!("no-default", run_with_variables(&variables));
}
