//! Wrong command lines, missing programs, and help: what ends before a guest is booted.

use predicates::prelude::*;
use rstest::rstest;

use crate::support::TestEnv;

#[test]
fn help_names_every_command() {
    insta::assert_snapshot!(TestEnv::empty().run(&["--help"]).exits_with(0).stdout);
}

#[test]
fn help_of_vm_test_has_examples() {
    insta::assert_snapshot!(TestEnv::empty().run(&["vm-test", "--help"]).exits_with(0).stdout);
}

#[rstest]
#[case::no_spec(&["vm-test", "-k", "no-spec!"], "'no-spec!'")]
#[case::all_and_one(&["vm-test", "--all", "-k", "6.12"], "cannot be used with")]
#[case::no_jobs(&["vm-test", "--jobs", "0"], "0 is not in 1..=64")]
#[case::no_time(&["vm-test", "--timeout", "0"], "0 is not in 1..")]
#[case::accelerator(&["vm-test", "--accel", "xen"], "there are auto, kvm, tcg")]
#[case::both_ways(&["vm-test", "--yes", "--no-install"], "cannot be used with")]
#[case::no_shard(&["vm-test", "--shard", "3/2"], "I from 1 to N")]
#[case::empty_shard(&["vm-test", "-k", "6.12", "--shard", "2/2"], "shard 2/2 is empty")]
#[case::language(&["vm-test", "--program", "cobol"], "possible values: c, rust")]
#[case::no_pid(&["run", "--pid-filter", "0", "x.o"], "neither a PID nor \"writer\"")]
#[case::no_program(&["run", "/no/such/package.json"], "there is no file /no/such/package.json")]
#[case::no_guest(&["run", "-k", "host", "Cargo.toml"], "use hooklab-loader itself")]
#[case::no_ecli(&["vm-test", "--ecli", "/no/such/ecli"], "failed to use /no/such/ecli as ecli: No such file")]
#[case::not_executable(&["vm-test", "--ecli", "/etc/passwd"], "failed to use /etc/passwd as ecli: it is not executable")]
#[case::another_program(&["vm-test", "--ecli", "/bin/true"], "it is another program of that name")]
#[case::ecli_without_one(&["vm-test", "-l", "ecli"], "there is no ecli to load with: build it with `cargo install")]
#[case::run_without_one(&["run", "-k", "6.12", "-l", "ecli", "Cargo.toml"], "there is no ecli to load with")]
#[case::nothing_to_explain(&["explain"], "required arguments were not provided")]
#[case::no_object(&["explain", "/no/such.bpf.o"], "cannot explain /no/such.bpf.o: No such file")]
#[case::no_ebpf(&["explain", "/bin/true"], "cannot explain /bin/true: it is an ELF file, but not an eBPF object")]
#[case::no_elf(&["explain", "Cargo.toml"], "cannot explain Cargo.toml: it is not an ELF file")]
#[case::no_command(&["frobnicate"], "unrecognized subcommand")]
#[case::append_nothing(&["vm-test", "--append", " "], "it is empty")]
#[case::append_to_the_host(&["vm-test", "-k", "host", "--append", "quiet"], "--append cannot be combined with -k host")]
fn a_wrong_command_line_exits_with_2(#[case] words: &[&str], #[case] said: &str) {
    let stderr = TestEnv::empty().run(words).exits_with(2).stderr;
    assert!(predicate::str::contains(said).eval(&stderr), "{stderr}");
}

#[test]
fn another_program_called_ecli_on_path_is_noted_and_left_out() {
    let env = TestEnv::empty().without_program("ecli").with("HOOKLAB_ECLI", "");
    std::os::unix::fs::symlink("/bin/true", env.path("bin/ecli")).unwrap();
    let stderr = env.run(&["vm-test", "-l", "ecli"]).exits_with(2).stderr;
    let says =
        predicate::str::contains("note: no tests of the loader ecli: [temporary]/bin/ecli cannot be used")
            .and(predicate::str::contains("there is no ecli to load with"));
    assert!(says.eval(&stderr), "{stderr}");
}

#[test]
fn a_binary_that_is_no_program_exits_with_2() {
    insta::assert_snapshot!(
        TestEnv::empty().run(&["vm-test", "--binary", "/etc/passwd"]).exits_with(2).stderr
    );
}

#[test]
fn a_report_that_cannot_be_written_exits_with_2_before_anything_is_done() {
    insta::assert_snapshot!(
        TestEnv::empty().run(&["vm-test", "--json", "/no/such/directory/out.json"]).exits_with(2).stderr
    );
}

#[test]
fn an_unknown_series_exits_with_3_and_names_those_there_are() {
    insta::assert_snapshot!(TestEnv::empty().run(&["vm-test", "-k", "9.99"]).exits_with(3).stderr);
}

#[test]
fn a_file_that_is_no_kernel_exits_with_3() {
    insta::assert_snapshot!(TestEnv::empty().run(&["vm-test", "-k", "/etc/passwd"]).exits_with(3).stderr);
}

#[test]
fn a_missing_file_exits_with_3() {
    insta::assert_snapshot!(
        TestEnv::empty().run(&["vm-test", "-k", "./no/such/bzImage"]).exits_with(3).stderr
    );
}

#[test]
fn offline_with_an_empty_cache_exits_with_3() {
    insta::assert_snapshot!(
        TestEnv::empty().run(&["vm-test", "-k", "6.12", "--offline"]).exits_with(3).stderr
    );
}

#[test]
fn without_qemu_and_without_leave_to_install_it_says_what_to_install() {
    let env = TestEnv::empty().without_program("qemu-system-x86_64");
    let stderr = env.run(&["vm-test", "--no-install"]).exits_with(3).stderr;
    let says = predicate::str::contains("sudo apt-get install --no-install-recommends")
        .and(predicate::str::contains("qemu-system-x86"));
    assert!(says.eval(&stderr), "{stderr}");
}
