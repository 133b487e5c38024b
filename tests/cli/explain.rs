//! `cargo xtask explain`: programs that do not load, for each cause that a guest can show, on an old kernel and a newer one.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::lab::read;
use crate::support::{Output, Xtask, root};

/// Kernels of which the older lacks what the newer has.
const KERNELS: [&str; 4] = ["-k", "5.10", "-k", "6.12"];

/// Compiles a source of `tests/programs/explain`; without `-g` there is no BTF.
fn compile(source: &str, flags: &[&str], directory: &Path) -> String {
    let object = directory.join(format!("{source}.bpf.o")).display().to_string();
    let mut clang = Command::new("clang");
    clang.current_dir(root().join("tests/programs/explain")).args(flags);
    clang.args([
        "-O2",
        "-Wall",
        "-Werror",
        "-target",
        "bpf",
        "-c",
        &format!("{source}.bpf.c"),
        "-o",
        &object,
    ]);
    assert!(clang.status().unwrap().success());
    object
}

fn explain(words: &[&str], code: i32) -> Output {
    Xtask::with_kernels(&[&["explain"], &KERNELS[..], words].concat()).ends_with(code)
}

/// The classes and texts of the causes of a program, by kernel.
fn causes(report: &Value, program: &str) -> Vec<String> {
    let kernels = report["kernels"].as_array().unwrap().iter();
    let of = |kernel: &Value| {
        let loads =
            kernel["tests"].as_array().unwrap().iter().flat_map(|test| test["loads"].as_array().unwrap());
        let load = loads.into_iter().find(|load| load["program"] == program).unwrap().clone();
        let words = [&load["verdict"], &load["cause"]["class"], &load["cause"]["text"]];
        words.map(|word| word.as_str().unwrap_or("-").to_owned()).join(": ")
    };
    kernels.map(of).collect()
}

#[test]
fn each_cause_is_told_by_its_class_and_none_hides_another() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("out.json").display().to_string();
    let object = compile("causes", &["-g"], directory.path());
    let stdout = explain(&["--json", &json, &object], 1).stdout;
    insta::assert_snapshot!(stdout);
    let report = read(&json);
    // Of what is refused, the report has the log.
    let loads = report["kernels"][0]["tests"][0]["loads"].as_array().unwrap();
    let logs: Vec<&str> = loads
        .iter()
        .filter(|load| !load["log"].is_null())
        .map(|load| load["program"].as_str().unwrap())
        .collect();
    assert_eq!(logs, ["reads_too_far", "calls_helper_of_xdp", "calls_new_helper", "reads_missing_field"]);
    // 5.10 tells the number of instructions in its statistics alone.
    let counts = report["kernels"].as_array().unwrap().iter().map(|kernel| {
        let load = &kernel["tests"][0]["loads"][0];
        ["verified_instructions", "peak_states", "stack_depth"].map(|name| load[name].as_u64().unwrap())
    });
    assert_eq!(counts.collect::<Vec<_>>(), [[2, 0, 0]; 2]);
}

#[test]
fn what_cannot_be_attached_is_told_where_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("out.json").display().to_string();
    let object = compile("causes", &["-g"], directory.path());
    explain(&["--attach", "--json", &json, &object], 1);
    let report = read(&json);
    let found = [
        "loads",
        "hooks_missing_tracepoint",
        "probes_missing_function",
        "watches_files",
        "probes_many",
        "filters_packets",
    ]
    .map(|program| format!("{program}\n    {}", causes(&report, program).join("\n    ")));
    insta::assert_snapshot!(found.join("\n"));
}

#[test]
fn what_stands_in_the_way_of_a_whole_object_is_told_for_each_program() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    let json = directory.join("out.json").display().to_string();
    let objects =
        ["kfunc", "map-type", "out-of-memory", "too-large"].map(|name| compile(name, &["-g"], directory));
    let without_btf = compile_without_btf(directory);
    let words: Vec<&str> = objects.iter().chain([&without_btf]).map(String::as_str).collect();
    insta::assert_snapshot!(explain(&[&["--json", &json], &words[..]].concat(), 1).stdout);
}

/// The same source as `map-type`, without BTF.
fn compile_without_btf(directory: &Path) -> String {
    let apart = directory.join("without-btf");
    fs::create_dir(&apart).unwrap();
    let object = compile("map-type", &[], &apart);
    let name = directory.join("no-btf.bpf.o").display().to_string();
    fs::rename(object, &name).unwrap();
    name
}

#[test]
fn a_program_that_the_verifier_does_not_follow_to_its_end_is_too_large() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("out.json").display().to_string();
    let object = compile("loops", &["-g"], directory.path());
    // Under TCG a million instructions take the verifier some seconds.
    explain(&["--timeout", "300", "--json", &json, &object], 1);
    let expected = "refused: too-large: BPF program is too large. Processed 1000001 insn";
    assert_eq!(causes(&read(&json), "loops_too_long"), [expected; 2]);
}

#[test]
fn only_what_got_worse_fails_where_a_report_is_expected() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept.json").display().to_string();
    let object = compile("map-type", &["-g"], directory.path());
    explain(&["--json", &kept, &object], 1);
    // As it was: it does not load on 5.10, which was so before.
    let same = explain(&["--expect", &kept, &object], 0).stdout;
    assert!(same.ends_with("0 of 1 program loads on all 2 kernels\nnothing got worse\n"), "{same}");
    // A report in which it loaded everywhere.
    let better = fs::read_to_string(&kept).unwrap().replace("\"refused\"", "\"loaded\"");
    fs::write(&kept, better).unwrap();
    let worse = explain(&["--expect", &kept, &object], 1).stdout;
    assert!(
        worse.ends_with("worse on 5.10: remembers of map-type.bpf.o (libbpf) is not loaded, was loaded\n"),
        "{worse}"
    );
    // What is in no report must load.
    let other = compile("kfunc", &["-g"], directory.path());
    let worse = explain(&["--expect", &kept, &other], 1).stdout;
    assert_eq!(worse.matches("(libbpf) is new, and not loaded\n").count(), 4, "{worse}");
}

#[test]
fn the_lab_s_own_program_loads_on_both_with_the_same_number_of_instructions() {
    let directory: TempDir = tempfile::tempdir().unwrap();
    let [json, markdown] =
        ["out.json", "out.md"].map(|name| directory.path().join(name).display().to_string());
    let object = built("minimal");
    let stdout = explain(&["--attach", "-v", "--json", &json, "--markdown", &markdown, &object], 0).stdout;
    assert!(stdout.contains("1 of 1 program loads on all 2 kernels"), "{stdout}");
    let report = read(&json);
    let loads: Vec<&Value> =
        (0..2).map(|kernel| &report["kernels"][kernel]["tests"][0]["loads"][0]).collect();
    assert_eq!(loads[0]["verified_instructions"], loads[1]["verified_instructions"]);
    assert!(loads.iter().all(|load| load["verdict"] == "attached" && load["jited_bytes"].as_u64() > Some(0)));
    assert!(loads.iter().all(|load| load["seconds"].as_f64() > Some(0.0)), "{loads:?}");
    let map = &report["kernels"][0]["tests"][0]["object"]["maps"][0];
    assert!(map["bytes"].as_u64() >= Some(4096) && map["kind"] == "array", "{map}");
    let markdown = fs::read_to_string(markdown).unwrap();
    assert!(markdown.starts_with("| PROGRAM") && !markdown.contains('\u{1b}'), "{markdown}");
}

/// An object of the lab's own, built by now.
fn built(name: &str) -> String {
    let built = Xtask::with_kernels(&["build"]).ends_with(0).stdout;
    let object = built.lines().find(|line| line.ends_with(&format!("/{name}.bpf.o"))).unwrap();
    object.replace("[root]", &root().display().to_string())
}
