//! QEMU and what it is given: killed, stopped, broken, without an agent.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use super::site::{ONE, Site};
use crate::support::lab::specimens;

/// Sends a signal to the QEMU in which a test waits that has a limit of 3 s; gives the results of it, and of the test
/// that comes after it.
fn in_mid_test(signal: Signal) -> [Value; 2] {
    let site = Site::new();
    let binary = specimens();
    let tests = ["endings::waits", "failures::passes"];
    let words = ["-k", "6.12", "-j", "1", "--binary", &binary, tests[0], tests[1], "--timeout", "3"];
    let mut running = site.start(&words);
    site.hears("endings: it waits");
    kill(site.machine(), signal).unwrap();
    assert_eq!(running.ends(), Some(1));
    site.is_clean();
    let kernel = site.report()["kernels"][0].clone();
    assert_eq!(kernel["starts"], 2);
    site.goes_on();
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
        waits["message"].as_str().unwrap().contains("the machine stopped (signal: 9 (SIGKILL))"),
        "{waits}"
    );
}

#[test]
fn a_machine_that_stops_answering_is_given_up_within_two_seconds_of_the_limit() {
    let [waits, passes] = in_mid_test(Signal::SIGSTOP);
    assert_eq!((&waits["outcome"], &passes["outcome"]), (&"timed-out".into(), &"passed".into()));
    let seconds = waits["seconds"].as_f64().unwrap();
    assert!((3.0..5.0).contains(&seconds), "{seconds}");
}

#[test]
fn a_qemu_that_cannot_start_is_an_error_with_its_own_words() {
    let script =
        r#"[[ "$*" == *--version* ]] && qemu "$@"; echo "qemu: no room for this machine" >&2; exit 1"#;
    let site = Site::with_own_machines().with_qemu(script);
    let ran = site.run(&["-k", "6.12", "--accel", "tcg", ONE[0], ONE[1]]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stdout.contains("no room for this machine"), "{}", ran.stdout);
    Site::new().goes_on();
}

#[test]
fn another_qemu_on_path_takes_the_place_of_the_one_before() {
    let site = Site::with_own_machines();
    let words = ["-k", "6.12", "--accel", "tcg", ONE[0], ONE[1]];
    assert_eq!(site.run(&words).code, Some(0));
    let used = site.path("used");
    let site =
        site.with_qemu(&format!(r#"[[ "$*" == *-kernel* ]] && touch "{}"; qemu "$@""#, used.display()));
    let ran = site.run(&words);
    assert_eq!((ran.code, &ran.kernel()["start"]), (Some(0), &"boot".into()), "{}", ran.stderr);
    assert!(used.exists());
}

#[test]
fn what_is_no_kernel_is_refused() {
    let site = Site::new();
    let image = site.path("vmlinuz");
    fs::write(&image, vec![0_u8; 1 << 20]).unwrap();
    let ran = site.run(&["-k", image.to_str().unwrap(), ONE[0]]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("it is no kernel (no x86 boot header)"), "{}", ran.stderr);
    site.goes_on();
}

/// A QEMU that is given this initramfs in the place of ours.
fn with_initramfs(content: &[u8]) -> Site {
    let site = Site::with_own_machines();
    let path = site.path("initramfs");
    fs::write(&path, content).unwrap();
    let script = format!(
        r#"words=(); for word in "$@"; do
             [[ $last == -initrd ]] && word={}; words+=("$word"); last=$word
           done; qemu "${{words[@]}}""#,
        path.display()
    );
    site.with_qemu(&script)
}

#[test]
fn a_kernel_that_panics_while_it_boots_is_given_up_within_two_seconds() {
    // Empty: there is nothing to run, and nowhere to look for it.
    let site = with_initramfs(&[0; 512]);
    let mut running = site.start(&["-k", "6.12", "--accel", "tcg", ONE[0], ONE[1]]);
    site.hears("Kernel panic");
    let begin = Instant::now();
    assert_eq!(running.ends(), Some(3));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    let kernel = &site.report()["kernels"][0];
    assert!(kernel["error"].as_str().unwrap().contains("the kernel panicked"), "{kernel}");
    site.is_clean();
    Site::new().goes_on();
}

#[test]
fn an_agent_that_says_no_hello_is_given_up_within_two_seconds_of_the_limit() {
    let site = with_initramfs(&sleeper());
    let mut running = site.start(&["-k", "6.12", "--accel", "tcg", ONE[0], ONE[1], "--boot-timeout", "8"]);
    site.machine();
    let begin = Instant::now();
    assert_eq!(running.ends(), Some(3));
    let took = begin.elapsed().as_secs_f64();
    assert!((7.5..10.0).contains(&took), "{took}");
    let kernel = &site.report()["kernels"][0];
    assert!(kernel["error"].as_str().unwrap().contains("nothing came from the guest for 8.0s"), "{kernel}");
    site.is_clean();
    Site::new().goes_on();
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
