//! Saved machines: made by one run, used by the next, and never in the way.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::gate::needs;
use crate::needs::unshare;
use crate::support::lab::{machines, share_cache};
use crate::support::{cargo, root};

/// A test that each loader has.
const ONE: &str = "filter::one_pid";

/// The user's cache, but with saved machines of its own.
struct Cache {
    folder: TempDir,
}

impl Cache {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        share_cache(folder.path(), &["machines"]);
        for name in ["machines", "tmp"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    /// The same, with a machine in it.
    fn filled() -> Self {
        let cache = Self::new();
        assert_eq!(cache.run(&[]).starts(), ["boot"]);
        cache
    }

    fn machines(&self) -> PathBuf {
        self.folder.path().join("machines")
    }

    /// The only saved machine there is.
    fn machine(&self) -> PathBuf {
        let entries = fs::read_dir(self.machines()).unwrap().flatten().map(|entry| entry.path());
        let whole: Vec<PathBuf> = entries.filter(|path| !is_hidden(path)).collect();
        assert_eq!(whole.len(), 1, "{whole:?}");
        whole[0].clone()
    }

    fn json(&self) -> PathBuf {
        self.folder.path().join("out.json")
    }

    /// `vm-test` on 6.12 with one test for each loader.
    fn command(&self, words: &[&str]) -> Command {
        self.command_to(words, &self.json())
    }

    /// The same, with its report in another place.
    fn command_to(&self, words: &[&str], json: &Path) -> Command {
        let mut command = Command::new(cargo());
        command.args(["xtask", "vm-test", "-k", "6.12", ONE]).args(words).arg("--json").arg(json);
        command.current_dir(root()).env("HOOKLAB_CACHE", self.folder.path()).env("NO_COLOR", "1");
        command.env("TMPDIR", self.folder.path().join("tmp"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end, which is a good one.
    fn run(&self, words: &[&str]) -> Done {
        Done::of(self.command(words), &self.json())
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().unwrap().to_string_lossy().starts_with('.')
}

/// A run that passed.
struct Done {
    report: Value,
    stderr: String,
}

impl Done {
    fn of(mut command: Command, json: &Path) -> Self {
        let _ = fs::remove_file(json);
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{stderr}{}", String::from_utf8_lossy(&output.stdout));
        Self { report: serde_json::from_slice(&fs::read(json).unwrap()).unwrap(), stderr }
    }

    fn starts(&self) -> Vec<&str> {
        let kernels = self.report["kernels"].as_array().unwrap();
        kernels.iter().map(|kernel| kernel["start"].as_str().unwrap()).collect()
    }
}

#[test]
fn the_second_run_resumes_what_the_first_one_saved_unless_told_not_to() {
    let cache = Cache::filled();
    assert_eq!(cache.run(&[]).starts(), ["resume"]);
    assert_eq!(cache.run(&["--isolate"]).starts(), ["resume"]);
    let before = fs::metadata(cache.machine().join("memory")).unwrap().modified().unwrap();
    assert_eq!(cache.run(&["--fresh"]).starts(), ["boot"]);
    assert_eq!(fs::metadata(cache.machine().join("memory")).unwrap().modified().unwrap(), before);
}

#[test]
fn a_damaged_machine_boots_again_and_is_saved_again() {
    let cache = Cache::filled();
    let file = File::options().read(true).write(true).open(cache.machine().join("memory")).unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], middle).unwrap();
    heals(&cache);

    let file = File::options().write(true).open(cache.machine().join("state")).unwrap();
    file.set_len(1000).unwrap();
    heals(&cache);
}

/// The next run says so, and boots; the one after that resumes.
fn heals(cache: &Cache) {
    let done = cache.run(&[]);
    assert!(done.stderr.contains("cannot restore 6.12 from its saved state"), "{}", done.stderr);
    assert_eq!(done.starts(), ["boot"]);
    assert_eq!(cache.run(&[]).starts(), ["resume"]);
}

#[test]
fn a_machine_that_qemu_does_not_take_boots_again() {
    let cache = Cache::filled();
    let nonsense = [0xff; 4096];
    fs::write(cache.machine().join("state"), nonsense).unwrap();
    // Sound by its digest: that of its only chunk's place and digest, and the length.
    let chunk = twox_hash::XxHash3_128::oneshot(&nonsense).to_le_bytes();
    let digest = twox_hash::XxHash3_128::oneshot(&[&[0; 8], chunk.as_slice()].concat());
    let record = cache.machine().join("machine.json");
    let mut content: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    content["state"] = format!("{digest:032x}-{}", nonsense.len()).into();
    fs::write(&record, content.to_string()).unwrap();
    heals(&cache);
}

#[test]
fn a_run_that_is_killed_while_it_saves_is_no_trouble_to_the_next_one() {
    let cache = Cache::new();
    let mut child = cache.command(&[]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while works(&cache).is_empty() {
        assert!(Instant::now() < deadline, "nothing was saved");
        std::thread::sleep(Duration::from_micros(200));
    }
    kill(&mut child);
    assert_eq!(works(&cache).len(), 1, "it was too late");
    assert_eq!(cache.run(&[]).starts(), ["boot"]);
    assert_eq!(works(&cache), [""; 0]);
    assert_eq!(cache.run(&[]).starts(), ["resume"]);
    assert!(machines(&cache.folder.path().join("tmp")).is_empty());
}

/// Half-made machines.
fn works(cache: &Cache) -> Vec<String> {
    let names = fs::read_dir(cache.machines()).unwrap().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".work-")).collect()
}

/// Cargo may have started the program as a child: the QEMU goes with that one.
fn kill(child: &mut Child) {
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id().cast_signed()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    child.wait().unwrap();
}

#[test]
fn two_runs_at_once_boot_once() {
    let cache = Cache::new();
    let other = cache.folder.path().join("other.json");
    let mut starts = Vec::new();
    std::thread::scope(|scope| {
        let one = scope.spawn(|| cache.run(&[]));
        let two = scope.spawn(|| Done::of(cache.command_to(&[], &other), &other));
        starts = [one, two].map(|run| run.join().unwrap().starts()[0].to_owned()).to_vec();
    });
    starts.sort();
    assert_eq!(starts, ["boot", "resume"]);
}

#[test]
fn a_full_disk_costs_a_warning() {
    needs!(Mounts);
    let cache = Cache::new();
    // In a mount namespace of its own, whose disk has room for half a machine.
    let small = format!("mount -t tmpfs -o size=40m none {} && exec \"$@\"", cache.machines().display());
    let inside = |words: &[&str]| {
        let plain = cache.command(words);
        let mut command = unshare(&small);
        command.arg(plain.get_program()).args(plain.get_args());
        command.current_dir(root()).stdin(Stdio::null());
        for (name, value) in plain.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command
    };
    let done = Done::of(inside(&[]), &cache.json());
    assert!(done.stderr.contains("failed to save the machine of 6.12"), "{}", done.stderr);
    assert_eq!(done.starts(), ["boot"]);
    assert_eq!(cache.run(&[]).starts(), ["boot"]);
    assert_eq!(cache.run(&[]).starts(), ["resume"]);
}
