//! QEMU and what it is given: killed, stopped, broken, without an agent.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::support::{ONE, TestEnv, misbehaving, took_its_limit};

/// Sends a signal to the QEMU in which a test waits that has a limit of 3 s; gives the results of it, and of the test
/// that comes after it.
fn in_mid_test(signal: Signal) -> [Value; 2] {
    let env = TestEnv::shared();
    let binary = misbehaving();
    let tests = ["endings::waits", "failures::passes"];
    let words = ["-k", "6.12", "-j", "1", "--binary", &binary, tests[0], tests[1], "--timeout", "3"];
    let mut running = env.start(&words);
    running.console_shows("endings: it waits");
    kill(running.machine(), signal).unwrap();
    assert_eq!(running.ends(), Some(1));
    env.is_clean();
    let kernel = env.report()["kernels"][0].clone();
    assert_eq!(kernel["starts"], 2);
    env.next_run_passes();
    [0, 1].map(|place| {
        assert_eq!(kernel["tests"][place]["name"], tests[place]);
        kernel["tests"][place].clone()
    })
}

#[test]
fn a_qemu_that_is_killed_takes_down_the_test_that_was_running() {
    let [waits, passes] = in_mid_test(Signal::SIGKILL);
    assert_eq!((&waits["outcome"], &passes["outcome"]), (&"crashed".into(), &"passed".into()));
    assert!(
        waits["message"].as_str().unwrap().contains("the machine ended unexpectedly (signal: 9 (SIGKILL))"),
        "{waits}"
    );
}

#[test]
fn a_machine_that_stops_answering_is_given_up_at_the_limit() {
    let [waits, passes] = in_mid_test(Signal::SIGSTOP);
    assert_eq!((&waits["outcome"], &passes["outcome"]), (&"timed-out".into(), &"passed".into()));
    took_its_limit(&waits, 3.0);
}

#[test]
fn a_qemu_that_cannot_start_is_an_error_with_its_own_words() {
    let script =
        r#"[[ "$*" == *--version* ]] && qemu "$@"; echo "qemu: no room for this machine" >&2; exit 1"#;
    let env = TestEnv::with_own_cache(&["kernels"]).with_qemu(script);
    let ran = env.vm_test(&["-k", "6.12", "--accel", "tcg", ONE[0], ONE[1]]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stdout.contains("no room for this machine"), "{}", ran.stdout);
    TestEnv::shared().next_run_passes();
}

#[test]
fn another_qemu_on_path_takes_the_place_of_the_one_before() {
    let env = TestEnv::with_own_cache(&["kernels"]);
    let words = ["-k", "6.12", "--accel", "tcg", ONE[0], ONE[1]];
    assert_eq!(env.vm_test(&words).code, Some(0));
    let used = env.path("used");
    let env = env.with_qemu(&format!(r#"[[ "$*" == *-kernel* ]] && touch "{}"; qemu "$@""#, used.display()));
    let ran = env.vm_test(&words);
    assert_eq!((ran.code, &ran.kernel()["start"]), (Some(0), &"boot".into()), "{}", ran.stderr);
    assert!(used.exists());
}

#[test]
fn what_is_no_kernel_is_refused() {
    let env = TestEnv::shared();
    let image = env.path("vmlinuz");
    fs::write(&image, vec![0_u8; 1 << 20]).unwrap();
    let ran = env.vm_test(&["-k", image.to_str().unwrap(), ONE[0]]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("it has no x86 boot header"), "{}", ran.stderr);
    env.next_run_passes();
}

/// A QEMU that is given this initramfs in the place of ours.
fn with_initramfs(content: &[u8]) -> TestEnv {
    let env = TestEnv::with_own_cache(&["kernels"]);
    let path = env.path("initramfs");
    fs::write(&path, content).unwrap();
    let script = format!(
        r#"words=(); for word in "$@"; do
             [[ $last == -initrd ]] && word={}; words+=("$word"); last=$word
           done; qemu "${{words[@]}}""#,
        path.display()
    );
    env.with_qemu(&script)
}

#[test]
fn a_kernel_that_panics_while_it_boots_is_given_up_at_once() {
    // Empty: there is nothing to run, and nowhere to look for it.
    let env = with_initramfs(&[0; 512]);
    let words = ["-k", "6.12", "--accel", "tcg", ONE[0], ONE[1], "--boot-timeout", "3600"];
    let mut running = env.start(&words);
    running.console_shows("Kernel panic");
    assert_eq!(running.ends_promptly_after(Duration::ZERO), Some(3));
    let kernel = &env.report()["kernels"][0];
    assert!(kernel["error"].as_str().unwrap().contains("the kernel panicked"), "{kernel}");
    env.is_clean();
    TestEnv::shared().next_run_passes();
}

#[test]
fn an_agent_that_never_reports_ready_is_given_up_at_the_limit() {
    let env = with_initramfs(&sleeper());
    let mut running = env.start(&["-k", "6.12", "--accel", "tcg", ONE[0], ONE[1], "--boot-timeout", "8"]);
    running.machine();
    assert_eq!(running.ends_promptly_after(Duration::from_secs(8)), Some(3));
    let kernel = &env.report()["kernels"][0];
    assert!(kernel["error"].as_str().unwrap().contains("the guest reported nothing for 8.0s"), "{kernel}");
    env.is_clean();
    TestEnv::shared().next_run_passes();
}

/// An initramfs (kernel documentation, `driver-api/early-userspace/buffer-format.rst`) whose `/init` calls pause(2) for
/// ever.
fn sleeper() -> Vec<u8> {
    // mov eax, 34; syscall; jmp to the first
    let code = [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];
    let mut elf = Vec::new();
    let base = 0x40_0000_u64;
    // The header and one program header (elf(5)).
    elf.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0");
    elf.extend((base + 120).to_le_bytes());
    elf.extend(64_u64.to_le_bytes());
    elf.extend([0; 12]);
    elf.extend([64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for value in [0, base, base, 120 + code.len() as u64, 120 + code.len() as u64, 4096] {
        elf.extend(value.to_le_bytes());
    }
    elf.extend(code);
    let mut archive = Vec::new();
    for (name, mode, content) in [("init", 0o100_755, &elf[..]), ("TRAILER!!!", 0, &[])] {
        let fields = [1, mode, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
        archive.extend(b"070701");
        fields.iter().for_each(|field| archive.extend(format!("{field:08x}").into_bytes()));
        archive.extend(name.bytes());
        archive.push(0);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}
