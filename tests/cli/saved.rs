//! Saved machines: made by one run, used by the next, and never in the way.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::gate::needs;
use crate::support::{ONE, Ran, TestEnv};

/// An environment with saved machines of its own, of which there are none yet.
fn without_machines() -> TestEnv {
    let env = TestEnv::with_own_cache(&["kernels", "accelerator.json"]);
    env.directory("cache/machines");
    env
}

/// The same, with a machine in it.
fn with_machine() -> TestEnv {
    let env = without_machines();
    assert_eq!(run(&env, &[]).start(), "boot");
    env
}

/// What the store of saved machines has; hidden are those that are not whole.
fn store(env: &TestEnv, hidden: bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(env.path("cache/machines")).unwrap().flatten();
    let is_hidden = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('.');
    entries.map(|entry| entry.path()).filter(|path| is_hidden(path) == hidden).collect()
}

/// Half-made machines.
fn works(env: &TestEnv) -> Vec<PathBuf> {
    let mut hidden = store(env, true);
    hidden.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with(".work-"));
    hidden
}

/// The only saved machine there is.
fn machine(env: &TestEnv) -> PathBuf {
    let [machine] = &store(env, false)[..] else { panic!("{:?}", store(env, false)) };
    machine.clone()
}

/// `vm-test` on 6.12 with one test for each loader, which passes.
fn run(env: &TestEnv, words: &[&str]) -> Ran {
    env.vm_test(&[&["-k", "6.12", ONE[0], ONE[1]], words].concat()).exits_with(0)
}

impl Ran {
    /// How the only machine of the run came up.
    fn start(&self) -> &str {
        assert_eq!(self.report["kernels"].as_array().unwrap().len(), 1);
        self.kernel()["start"].as_str().unwrap()
    }
}

#[test]
fn the_second_run_resumes_what_the_first_one_saved_unless_told_not_to() {
    let env = with_machine();
    assert_eq!(run(&env, &[]).start(), "resume");
    assert_eq!(run(&env, &["--isolate"]).start(), "resume");
    let before = fs::metadata(machine(&env).join("memory")).unwrap().modified().unwrap();
    assert_eq!(run(&env, &["--fresh"]).start(), "boot");
    assert_eq!(fs::metadata(machine(&env).join("memory")).unwrap().modified().unwrap(), before);
}

#[test]
fn a_damaged_machine_boots_again_and_is_saved_again() {
    let env = with_machine();
    let file = File::options().read(true).write(true).open(machine(&env).join("memory")).unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], middle).unwrap();
    heals(&env);

    let file = File::options().write(true).open(machine(&env).join("state")).unwrap();
    file.set_len(1000).unwrap();
    heals(&env);
}

/// The next run says so, and boots; the one after that resumes.
fn heals(env: &TestEnv) {
    let done = run(env, &[]);
    assert!(done.stderr.contains("cannot restore 6.12 from its saved state"), "{}", done.stderr);
    assert_eq!(done.start(), "boot");
    assert_eq!(run(env, &[]).start(), "resume");
}

#[test]
fn a_machine_that_qemu_does_not_take_boots_again() {
    let env = with_machine();
    let garbage = [0xff; 4096];
    fs::write(machine(&env).join("state"), garbage).unwrap();
    // Sound by its digest: that of its only chunk's place and digest, and the length.
    let chunk = twox_hash::XxHash3_128::oneshot(&garbage).to_le_bytes();
    let digest = twox_hash::XxHash3_128::oneshot(&[&[0; 8], chunk.as_slice()].concat());
    let record = machine(&env).join("machine.json");
    let mut content: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    content["state"] = format!("{digest:032x}-{}", garbage.len()).into();
    fs::write(&record, content.to_string()).unwrap();
    heals(&env);
}

#[test]
fn a_run_that_is_killed_while_it_saves_is_no_trouble_to_the_next_one() {
    let env = without_machines();
    let mut running = env.start(&["-k", "6.12", ONE[0], ONE[1]]);
    running.until("a machine that is being saved", || (!works(&env).is_empty()).then_some(()));
    running.send(Signal::SIGKILL);
    assert_eq!(running.ends(), None);
    assert_eq!(works(&env).len(), 1, "it was too late");
    assert_eq!(run(&env, &[]).start(), "boot");
    assert!(works(&env).is_empty());
    assert_eq!(run(&env, &[]).start(), "resume");
}

#[test]
fn two_runs_at_once_boot_once() {
    let one = without_machines();
    let two = TestEnv::empty().with_cache(&one.path("cache"));
    let mut starts = std::thread::scope(|scope| {
        let runs = [&one, &two].map(|env| scope.spawn(|| run(env, &[]).start().to_owned()));
        runs.map(|run| run.join().unwrap())
    });
    starts.sort();
    assert_eq!(starts, ["boot", "resume"]);
}

#[test]
fn a_full_disk_costs_a_warning() {
    let mounts = needs!(Mounts);
    let env = without_machines();
    // There is room for half a machine.
    let small = format!("mount -t tmpfs -o size=40m none {}", env.path("cache/machines").display());
    let ran =
        env.run_after(mounts, &[&small], &env.vm_test_command(&["-k", "6.12", ONE[0], ONE[1]])).remove(0);
    let ran = ran.exits_with(0);
    assert!(ran.stderr.contains("failed to save the machine of 6.12"), "{}", ran.stderr);
    assert_eq!(ran.start(), "boot");
    assert_eq!(run(&env, &[]).start(), "boot");
    assert_eq!(run(&env, &[]).start(), "resume");
}
