//! Whole runs, with guests.

use std::fs;

use crate::support::{
    ONE, PROMPTLY, Ran, TestEnv, locked_kernel, misbehaving, paths, root, target, took_its_limit,
};

#[test]
fn list_has_at_least_nine_tests_for_each_loader() {
    for loader in ["aya", "libbpf", "eunomia"] {
        let stdout =
            TestEnv::shared().run(&["vm-test", "-k", "6.12", "-l", loader, "--list"]).exits_with(0).stdout;
        assert!(stdout.lines().count() >= 9, "{stdout}");
        assert!(stdout.lines().all(|line| line.starts_with("6.12 ") && line.contains(loader)), "{stdout}");
    }
}

#[test]
fn an_unknown_loader_or_a_filter_that_leaves_nothing_exits_with_2() {
    let stderr = TestEnv::shared().run(&["vm-test", "-l", "cilium"]).exits_with(2).stderr;
    assert!(
        stderr.contains("there is no loader \"cilium\" in these tests: there is aya, eunomia, libbpf"),
        "{stderr}"
    );
    let stderr = TestEnv::shared().run(&["vm-test", "no-such-test"]).exits_with(2).stderr;
    assert!(stderr.contains("no test is left to run"), "{stderr}");
}

#[test]
fn the_reports_say_what_ran() {
    let env = TestEnv::shared();
    let junit = env.path("out.xml").display().to_string();
    let words = ["-k", "6.12", "--fresh", ONE[0], ONE[1], "--junit", &junit];
    let Ran { stdout, report, .. } = env.vm_test(&words).exits_with(0);
    assert!(stdout.ends_with("\n2 passed, 0 failed\n"), "{stdout}");

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
    let env = TestEnv::shared();
    let image = env.path("vmlinuz");
    let whole = fs::read(locked_kernel("6.12").join("vmlinuz")).unwrap();
    fs::write(&image, &whole[..whole.len() / 2]).unwrap();
    let image = image.to_str().unwrap();
    let words = ["-k", image, ONE[0], ONE[1], "--accel", "tcg", "--boot-timeout", "20"];
    let ran = env.vm_test(&words).exits_with(3);
    assert!(ran.stdout.contains("ERROR") && ran.stdout.contains("0 passed"), "{}", ran.stdout);
    let seconds = ran.kernel()["wall_seconds"].as_f64().unwrap();
    assert!(seconds < 20.0 + PROMPTLY.as_secs_f64(), "{seconds}");
}

#[test]
fn a_misbehaving_test_ends_no_other() {
    let env = TestEnv::shared();
    let binary = misbehaving();
    // One machine after the other, so that all share a log.
    let words = ["-k", "6.12", "--binary", &binary, "failures::", "--timeout", "3", "-j", "1"];
    let ran = env.vm_test(&words).exits_with(1);
    let stdout = &ran.stdout;
    assert!(stdout.contains("Kernel panic - not syncing: sysrq triggered crash"), "{stdout}");
    // The console of the machine that died outlives the one that came after it.
    let log = fs::read_to_string(target().join("hooklab/logs/6.12.log")).unwrap();
    assert!(log.contains("Kernel panic"), "{log}");

    let reason = "note: test did not panic as expected";
    let told =
        ran.tests().iter().any(|test| test["message"].as_str().is_some_and(|text| text.starts_with(reason)));
    assert!(told, "{:?}", ran.tests());

    insta::assert_snapshot!(ran.outcomes().join("\n"));
    // Within its limit, and the agent's word or the guest's silence.
    for test in ran.tests().iter().filter(|test| test["outcome"] == "timed-out") {
        took_its_limit(test, 3.0);
    }
}

#[test]
fn fail_fast_ends_at_the_first_failure() {
    let env = TestEnv::shared();
    let binary = misbehaving();
    let words = ["-k", "6.12", "-j", "1", "--binary", &binary, "--fail-fast"];
    // None of these passes, so that each may be the first.
    let failing = ["failures::aborts", "failures::exits_with_0", "failures::fails"];
    let ran = env.vm_test(&[&words[..], &failing].concat()).exits_with(1);
    assert!(ran.stdout.ends_with("\n0 passed, 1 failed\n2 tests were not run\n"), "{}", ran.stdout);
    assert_eq!(ran.kernel()["not_run"], 2);
    let stdout = env.vm_test(&[&words[..], &["confined::no_"]].concat()).exits_with(0).stdout;
    assert!(stdout.ends_with("\n4 passed, 0 failed\n"), "{stdout}");
}

#[test]
fn a_payload_that_is_too_long_for_the_shared_memory_comes_by_the_port() {
    let env = TestEnv::shared();
    let long = env.path("long");
    fs::copy(root().join(misbehaving()), &long).unwrap();
    let file = fs::File::options().write(true).open(&long).unwrap();
    file.set_len(70 << 20).unwrap();
    drop(file);
    let long = long.display().to_string();
    let words = ["-k", "6.12", "--binary", &long, "confined::no_network"];
    let stdout = env.vm_test(&words).exits_with(0).stdout;
    assert!(stdout.ends_with("\n1 passed, 0 failed\n"), "{stdout}");
}

#[test]
fn objects_hold_no_path_of_this_machine() {
    let built = TestEnv::shared().run(&["build"]).exits_with(0).stdout;
    let objects: Vec<_> = built.lines().filter(|line| line.ends_with(".bpf.o")).collect();
    for program in ["minimal", "minimal-folded", "minimal-rust", "minimal-folded-rust"] {
        assert!(objects.iter().any(|object| object.ends_with(&format!("/{program}.bpf.o"))), "{built}");
    }
    let home = dirs::home_dir().unwrap();
    for object in objects {
        let bytes = fs::read(root().join(object)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for directory in [root(), &home] {
            let directory = directory.to_str().unwrap();
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
    let without_linker = |words| TestEnv::empty().without_program("bpf-linker").run(words);
    let stderr = without_linker(&["build", "--no-install"]).exits_with(3).stderr;
    assert!(stderr.contains("`--program c`"), "{stderr}");
    let built = without_linker(&["build", "--no-install", "--program", "c"]).exits_with(0).stdout;
    assert!(built.contains("/minimal.bpf.o") && !built.contains("-rust.bpf.o"), "{built}");
}

#[test]
fn programs_in_one_language_can_be_chosen() {
    let list = |language| {
        TestEnv::shared()
            .run(&["vm-test", "-k", "6.12", "--program", language, "--list"])
            .exits_with(0)
            .stdout
    };
    let (c, rust) = (list("c"), list("rust"));
    assert!(rust.lines().count() >= 20 && rust.lines().all(|line| line.contains("-rust]")), "{rust}");
    assert!(c.lines().count() >= 40 && !c.contains("-rust]"), "{c}");
}
