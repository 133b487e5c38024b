//! What guests say of their kernels, and what the documentation says that they say.

use std::fs;

use crate::support::{TestEnv, root};

#[test]
fn the_page_of_kernels_says_what_the_guests_say() {
    let env = TestEnv::shared();
    // As the page says that its tables were made.
    let page = fs::read_to_string(root().join("docs/kernels.md")).unwrap();
    let words = "vm-test --all one_pid --locked --accel tcg --json";
    assert!(page.contains(&format!("cargo xtask {words} ")), "{page}");
    let json = env.path("out.json").display().to_string();
    let words: Vec<&str> = words.split(' ').chain([json.as_str()]).collect();
    let report = env.run(&words).exits_with(0).report;

    let kernels = report["kernels"].as_array().unwrap();
    assert!(kernels.len() >= 11, "{report}");
    for kernel in kernels {
        assert_eq!(kernel["features"]["btf"], true, "{kernel}");
        for test in kernel["tests"].as_array().unwrap() {
            if test["outcome"] == "unsupported" {
                let program = test["program"].as_str().unwrap();
                let lsm = program.starts_with("minimal-lsm-") && kernel["features"]["bpf_lsm"] == false;
                // aya does not understand the release of Debian's candidates.
                let kprobe = program.starts_with("minimal-kprobe-")
                    && test["loader"] == "aya"
                    && kernel["spec"] == "rc";
                assert!(lsm || kprobe, "{test}");
                continue;
            }
            assert!(test["loads"][0]["jited_bytes"].as_u64() > Some(0), "{test}");
        }
    }
    TestEnv::empty().run(&["doc", &json, "--check"]).exits_with(0);
}
