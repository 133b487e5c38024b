//! `cargo xtask explain`: programs that do not load, for each cause that a guest can show, on an old kernel and a newer one.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Ran, TestEnv, root};

/// Compiles a source of `tests/programs/explain` to an object of that name; without `-g` it has no BTF.
fn compile(env: &TestEnv, source: &str, flags: &[&str], name: &str) -> String {
    let object = env.path(&format!("{name}.bpf.o")).display().to_string();
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

/// Runs `explain` on a kernel that lacks much, and on one that lacks less.
fn explain(env: &TestEnv, words: &[&str], code: i32) -> Ran {
    let json = env.json().display().to_string();
    let ran = env.run(&[&["explain", "-k", "5.10", "-k", "6.12", "--json", &json], words].concat());
    ran.exits_with(code)
}

/// The programs of a kernel, the first or the second.
fn loads(report: &Value, kernel: usize) -> Vec<&Value> {
    let tests = report["kernels"][kernel]["tests"].as_array().unwrap();
    tests.iter().flat_map(|test| test["loads"].as_array().unwrap()).collect()
}

/// The verdict, class and text of a program's cause, by kernel.
fn causes(report: &Value, program: &str) -> [String; 2] {
    [0, 1].map(|kernel| {
        let load = loads(report, kernel).into_iter().find(|load| load["program"] == program).unwrap();
        let words = [&load["verdict"], &load["cause"]["class"], &load["cause"]["text"]];
        words.map(|word| word.as_str().unwrap_or("-")).join(": ")
    })
}

#[test]
fn each_cause_is_told_by_its_class_and_none_hides_another() {
    let env = TestEnv::shared();
    let object = compile(&env, "causes", &["-g"], "causes");
    let ran = explain(&env, &[&object], 1);
    insta::assert_snapshot!(ran.stdout);
    // Of what the verifier refuses, the report has the log.
    let of_5_10 = loads(&ran.report, 0);
    let logs =
        of_5_10.iter().filter(|load| !load["log"].is_null()).map(|load| load["program"].as_str().unwrap());
    let refused = ["reads_too_far", "calls_helper_of_xdp", "calls_new_helper", "reads_missing_field"];
    assert_eq!(logs.collect::<Vec<_>>(), refused);
    // 5.10 tells the number of instructions in its statistics alone.
    let counts = [0, 1].map(|kernel| {
        let load = loads(&ran.report, kernel)[0];
        ["verified_instructions", "peak_states", "stack_depth"].map(|name| load[name].as_u64().unwrap())
    });
    assert_eq!(counts, [[2, 0, 0]; 2]);
}

#[test]
fn what_cannot_be_attached_is_told_where_that_is_asked_for() {
    let env = TestEnv::shared();
    let object = compile(&env, "causes", &["-g"], "causes");
    let report = explain(&env, &["--attach", &object], 1).report;
    let programs = [
        "loads",
        "hooks_missing_tracepoint",
        "probes_missing_function",
        "watches_files",
        "probes_many",
        "filters_packets",
    ];
    let found = programs.map(|program| format!("{program}\n    {}", causes(&report, program).join("\n    ")));
    insta::assert_snapshot!(found.join("\n"));
}

#[test]
fn what_stands_in_the_way_of_a_whole_object_is_told_for_each_program() {
    let env = TestEnv::shared();
    let sources = ["kfunc", "map-type", "out-of-memory", "too-large"];
    let mut objects: Vec<String> =
        sources.iter().map(|source| compile(&env, source, &["-g"], source)).collect();
    objects.push(compile(&env, "map-type", &[], "no-btf"));
    let words: Vec<&str> = objects.iter().map(String::as_str).collect();
    insta::assert_snapshot!(explain(&env, &words, 1).stdout);
}

#[test]
fn a_program_that_the_verifier_does_not_follow_to_its_end_is_too_large() {
    let env = TestEnv::shared();
    let object = compile(&env, "loops", &["-g"], "loops");
    // Under TCG a million instructions take the verifier some seconds.
    let ran = explain(&env, &["--timeout", "300", "--log", &object], 1);
    let expected = "refused: too-large: BPF program is too large. Processed 1000001 insn";
    assert_eq!(causes(&ran.report, "loops_too_long"), [expected; 2]);
    assert_eq!(
        ran.stdout.matches("\nlog of loops_too_long of loops.bpf.o with libbpf on ").count(),
        2,
        "{}",
        ran.stdout
    );
}

#[test]
fn only_what_got_worse_fails_where_a_report_is_expected() {
    let env = TestEnv::shared();
    let kept = env.path("kept.json");
    let expect = ["--expect", kept.to_str().unwrap()];
    let object = compile(&env, "map-type", &["-g"], "map-type");
    let before = explain(&env, &[&object], 1).report.to_string();
    fs::write(&kept, &before).unwrap();
    // On 5.10 it did not load before either.
    let same = explain(&env, &[&expect[..], &[&object]].concat(), 0).stdout;
    assert!(same.ends_with("0 of 1 program loads on all 2 kernels\nnothing got worse\n"), "{same}");
    // Had it loaded there, that would be worse.
    fs::write(&kept, before.replace("\"refused\"", "\"loaded\"")).unwrap();
    let worse = explain(&env, &[&expect[..], &[&object]].concat(), 1).stdout;
    let line = "worse on 5.10: remembers of map-type.bpf.o (libbpf) is not loaded, was loaded\n";
    assert!(worse.ends_with(line), "{worse}");
    // What the report does not have must load.
    let other = compile(&env, "kfunc", &["-g"], "kfunc");
    let worse = explain(&env, &[&expect[..], &[&other]].concat(), 1).stdout;
    assert_eq!(worse.matches("(libbpf) is new, and not loaded\n").count(), 4, "{worse}");
}

#[test]
fn the_lab_s_own_program_loads_on_both_with_the_same_number_of_instructions() {
    let env = TestEnv::shared();
    let built = env.run(&["build"]).exits_with(0).stdout;
    let object = built.lines().find(|line| line.ends_with("/minimal.bpf.o")).unwrap();
    let object = object.replace("[root]", root().to_str().unwrap());
    let markdown = env.path("out.md");
    let ran = explain(&env, &["--attach", "-v", "--markdown", markdown.to_str().unwrap(), &object], 0);
    assert!(ran.stdout.ends_with("\n1 of 1 program loads on all 2 kernels\n"), "{}", ran.stdout);
    let both = [0, 1].map(|kernel| loads(&ran.report, kernel)[0]);
    assert_eq!(both[0]["verified_instructions"], both[1]["verified_instructions"]);
    assert!(both.iter().all(|load| load["verdict"] == "attached" && load["jited_bytes"].as_u64() > Some(0)));
    assert!(both.iter().all(|load| load["seconds"].as_f64() > Some(0.0)), "{both:?}");
    let map = &ran.report["kernels"][0]["tests"][0]["object"]["maps"][0];
    assert!(map["bytes"].as_u64() >= Some(4096) && map["kind"] == "array", "{map}");
    let markdown = fs::read_to_string(Path::new(&markdown)).unwrap();
    assert!(markdown.starts_with("| PROGRAM") && !markdown.contains('\u{1b}'), "{markdown}");
}
