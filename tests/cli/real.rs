//! Whole runs, with guests.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::lab::{locked_kernel, read, specimens};
use crate::support::{Xtask, path_without, paths, root};

/// A test that each loader has, with the program that they all take as it is.
const ONE: [&str; 2] = ["filter::one_pid [aya minimal-c]", "filter::one_pid [libbpf minimal-c]"];

#[test]
fn list_has_at_least_nine_tests_for_each_loader() {
    for loader in ["aya", "libbpf", "eunomia"] {
        let stdout =
            Xtask::with_kernels(&["vm-test", "-k", "6.12", "-l", loader, "--list"]).ends_with(0).stdout;
        assert!(stdout.lines().count() >= 9, "{stdout}");
        assert!(stdout.lines().all(|line| line.starts_with("6.12 ") && line.contains(loader)), "{stdout}");
    }
}

#[test]
fn an_unknown_loader_or_a_filter_that_leaves_nothing_exits_with_2() {
    let stderr = Xtask::with_kernels(&["vm-test", "-l", "cilium"]).ends_with(2).stderr;
    assert!(
        stderr.contains("there is no loader \"cilium\" in these tests: there is aya, eunomia, libbpf"),
        "{stderr}"
    );
    let stderr = Xtask::with_kernels(&["vm-test", "no-such-test"]).ends_with(2).stderr;
    assert!(stderr.contains("no test is left to run"), "{stderr}");
}

#[test]
fn the_reports_say_what_ran() {
    let scratch = tempfile::tempdir().unwrap();
    let [json, junit] = ["out.json", "out.xml"].map(|name| scratch.path().join(name).display().to_string());
    let words = ["vm-test", "-k", "6.12", "--fresh", ONE[0], ONE[1], "--json", &json, "--junit", &junit];
    let stdout = Xtask::with_kernels(&words).ends_with(0).stdout;
    assert!(stdout.ends_with("\n2 passed, 0 failed\n"), "{stdout}");

    let report = read(&json);
    assert!(report["kernels"][0]["release"].as_str().unwrap().starts_with("6.12."));
    assert!(report["kernels"][0]["boot_seconds"].as_f64().unwrap() > 0.0);
    insta::assert_json_snapshot!(report, {
        ".accelerator" => "[kvm or tcg]",
        ".wall_seconds" => "[seconds]",
        ".kernels[].release" => "[release]",
        ".kernels[].boot_seconds" => "[seconds]",
        ".kernels[].wall_seconds" => "[seconds]",
        ".kernels[].tests[].seconds" => "[seconds]",
        ".kernels[].tests[].loads[].jited_bytes" => "[bytes]",
    });
    let junit = fs::read_to_string(junit).unwrap();
    assert!(
        junit.contains(r#"tests="2" "#) && junit.contains("filter::one_pid [libbpf minimal-c]"),
        "{junit}"
    );
}

#[test]
fn a_kernel_that_never_comes_up_is_an_error_of_the_lab_within_its_time_limit() {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("vmlinuz");
    let whole = fs::read(locked_kernel("6.12").join("vmlinuz")).unwrap();
    fs::write(&image, &whole[..whole.len() / 2]).unwrap();
    let words =
        ["vm-test", "-k", image.to_str().unwrap(), ONE[0], ONE[1], "--accel", "tcg", "--boot-timeout", "20"];
    let begin = Instant::now();
    let stdout = Xtask::with_kernels(&words).ends_with(3).stdout;
    assert!(begin.elapsed() < Duration::from_secs(60), "it took {:?}", begin.elapsed());
    assert!(stdout.contains("ERROR") && stdout.contains("0 passed"), "{stdout}");
}

#[test]
fn tests_that_misbehave_take_down_themselves_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let json = scratch.path().join("out.json").display().to_string();
    let binary = specimens();
    let words =
        ["vm-test", "-k", "6.12", "--binary", &binary, "failures::", "--timeout", "3", "--json", &json];
    // One machine after the other, so that all share a log.
    let words = [&words[..], &["-j", "1"]].concat();
    let stdout = Xtask::with_kernels(&words).ends_with(1).stdout;
    assert!(stdout.contains("Kernel panic - not syncing: sysrq triggered crash"), "{stdout}");
    // The console of the machine that died outlives the one that came after it.
    let log = fs::read_to_string(root().join("target/hooklab/logs/6.12.log")).unwrap();
    assert!(log.contains("Kernel panic"), "{log}");

    let report = read(&json);
    let tests = report["kernels"][0]["tests"].as_array().unwrap();
    let outcomes: Vec<String> =
        tests.iter().map(|test| format!("{} {}", test["name"], test["outcome"])).collect();
    insta::assert_snapshot!(outcomes.join("\n").replace('"', ""));
    // Within its limit, and the agent's word or the guest's silence.
    for test in tests.iter().filter(|test| test["outcome"] == "timed-out") {
        let seconds = test["seconds"].as_f64().unwrap();
        assert!((3.0..5.0).contains(&seconds), "{test}");
    }
}

#[test]
fn fail_fast_ends_at_the_first_failure() {
    let scratch = tempfile::tempdir().unwrap();
    let json = scratch.path().join("out.json").display().to_string();
    let binary = specimens();
    let words = ["vm-test", "-k", "6.12", "-j", "1", "--binary", &binary, "--fail-fast", "--json", &json];
    // None of these passes, so that each may be the first.
    let failing = ["failures::aborts", "failures::exits_with_0", "failures::fails"];
    let stdout = Xtask::with_kernels(&[&words[..], &failing].concat()).ends_with(1).stdout;
    assert!(stdout.ends_with("\n0 passed, 1 failed\n2 tests were not run\n"), "{stdout}");
    assert_eq!(read(&json)["kernels"][0]["not_run"], 2);
    let stdout = Xtask::with_kernels(&[&words[..], &["confined::no_"]].concat()).ends_with(0).stdout;
    assert!(stdout.ends_with("\n4 passed, 0 failed\n"), "{stdout}");
}

#[test]
fn a_payload_that_is_too_long_for_the_window_comes_by_the_port() {
    let scratch = tempfile::tempdir().unwrap();
    let long = scratch.path().join("long");
    fs::copy(root().join(specimens()), &long).unwrap();
    let file = fs::File::options().write(true).open(&long).unwrap();
    file.set_len(70 << 20).unwrap();
    drop(file);
    let long = long.display().to_string();
    let words = ["vm-test", "-k", "6.12", "--binary", &long, "confined::no_network"];
    let stdout = Xtask::with_kernels(&words).ends_with(0).stdout;
    assert!(stdout.ends_with("\n1 passed, 0 failed\n"), "{stdout}");
}

#[test]
fn objects_hold_no_path_of_this_machine() {
    let built = Xtask::with_kernels(&["build"]).ends_with(0).stdout;
    let objects: Vec<_> = built.lines().filter(|line| line.ends_with(".bpf.o")).collect();
    for program in ["minimal", "minimal-folded", "minimal-rust", "minimal-folded-rust"] {
        assert!(objects.iter().any(|object| object.ends_with(&format!("/{program}.bpf.o"))), "{built}");
    }
    let home = dirs::home_dir().unwrap();
    for object in objects {
        let bytes = fs::read(root().join(object)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for folder in [root(), &home] {
            let directory = folder.to_str().unwrap();
            assert!(paths(&text, directory).is_empty(), "{object} names {directory}");
        }
    }
}

#[test]
fn a_path_is_told_from_one_that_ends_like_it() {
    for text in ["/src", "\0/src/ebpf/minimal.rs", "-I=/src\0", "x/src:/src/lib.rs"] {
        assert_eq!(paths(text, "/src").len(), 1, "{text}");
    }
    for text in ["library/core/src/ptr/mod.rs", "./src/minimal.rs", "/srcs/lib.rs", "../src", "//src"] {
        assert!(paths(text, "/src").is_empty(), "{text}");
    }
}

#[test]
fn without_leave_to_install_what_rust_needs_the_program_in_c_is_named_and_built() {
    let without_linker = |words| {
        let xtask = Xtask::new(words);
        let path = path_without("bpf-linker", xtask.scratch.path());
        xtask.env("PATH", path.to_str().unwrap())
    };
    let stderr = without_linker(&["build", "--no-install"]).ends_with(3).stderr;
    assert!(stderr.contains("`--program c`"), "{stderr}");
    let built = without_linker(&["build", "--no-install", "--program", "c"]).ends_with(0).stdout;
    assert!(built.contains("/minimal.bpf.o") && !built.contains("-rust.bpf.o"), "{built}");
}

#[test]
fn programs_in_one_language_can_be_chosen() {
    let list = |language| {
        Xtask::with_kernels(&["vm-test", "-k", "6.12", "--program", language, "--list"]).ends_with(0).stdout
    };
    let (c, rust) = (list("c"), list("rust"));
    assert!(rust.lines().count() >= 20 && rust.lines().all(|line| line.contains("-rust]")), "{rust}");
    assert!(c.lines().count() >= 40 && !c.contains("-rust]"), "{c}");
}
