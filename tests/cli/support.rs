//! What the tests of the command line have in common.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use assert_cmd::Command;
use tempfile::TempDir;

/// The checkout that is tested, which may be another than the one that this was compiled in.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
        package.parent().unwrap().to_owned()
    });
    &ROOT
}

/// The cargo that runs this.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap()
}

/// `cargo xtask` with these words, with a cache and a temporary folder of its own.
pub(crate) struct Xtask {
    pub(crate) scratch: TempDir,
    command: Command,
}

impl Xtask {
    /// With an empty cache.
    pub(crate) fn new(words: &[&str]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let cache = scratch.path().join("cache");
        Self::with_cache(words, scratch, Some(&cache))
    }

    fn with_cache(words: &[&str], scratch: TempDir, cache: Option<&Path>) -> Self {
        let temporary = scratch.path().join("tmp");
        std::fs::create_dir(&temporary).unwrap();
        let mut command = Command::new(cargo());
        command.arg("xtask").args(words).current_dir(root()).env("TMPDIR", temporary).env("NO_COLOR", "1");
        // Not the terminal of whoever runs the tests: help is wrapped to its width.
        command.env_remove("HOOKLAB_MIRROR").env_remove("CI").write_stdin("");
        // Nor an ecli of theirs: the same tests everywhere.
        command.env("HOOKLAB_ECLI", "none");
        if let Some(cache) = cache {
            command.env("HOOKLAB_CACHE", cache);
        }
        Self { scratch, command }
    }

    /// With a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it to its end; what it printed, with the place of the checkout and of the scratch folder left out.
    pub(crate) fn ends_with(mut self, code: i32) -> Output {
        let assert = self.command.assert().code(code);
        let tidy = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let text = text.replace(&self.scratch.path().display().to_string(), "[scratch]");
            let root = root().to_str().unwrap();
            let rest = |at: usize, end: usize| text[at..end].to_owned();
            let begins = paths(&text, root);
            let mut tidy = rest(0, begins.first().copied().unwrap_or(text.len()));
            for (number, at) in begins.iter().enumerate() {
                let end = begins.get(number + 1).copied().unwrap_or(text.len());
                tidy += &format!("[root]{}", rest(at + root.len(), end));
            }
            tidy
        };
        let output = assert.get_output();
        Output { stdout: tidy(&output.stdout), stderr: tidy(&output.stderr) }
    }
}

/// Where a text names this absolute path or something below it. A path that merely has the same names in it, as
/// `library/core/src/lib.rs` has those of `/src`, is another one.
pub(crate) fn paths(text: &str, path: &str) -> Vec<usize> {
    let is_of_a_name = |character: char| character.is_alphanumeric() || "_-.+~".contains(character);
    let names = text.match_indices(path).map(|(at, _)| at).filter(|at| {
        let continues = text[..*at].ends_with(|before| is_of_a_name(before) || before == '/');
        !continues && !text[at + path.len()..].starts_with(is_of_a_name)
    });
    names.collect()
}

/// What a command printed.
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A PATH on which everything is found that is on this process's, but for one program.
pub(crate) fn path_without(program: &str, scratch: &Path) -> PathBuf {
    let folder = scratch.join("bin");
    std::fs::create_dir(&folder).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for entry in std::env::split_paths(&path).filter_map(|folder| folder.read_dir().ok()).flatten().flatten()
    {
        if entry.file_name() != program {
            // The first one on PATH wins, as it does for the shell.
            let _ = std::os::unix::fs::symlink(entry.path(), folder.join(entry.file_name()));
        }
    }
    folder
}

#[cfg(feature = "lab")]
pub(crate) mod lab {
    //! For runs that boot guests: these use the user's own cache, so that kernels come once.

    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};
    use std::process::Stdio;
    use std::sync::OnceLock;

    use serde::Deserialize;
    use sha2::{Digest, Sha256};

    use super::{Xtask, cargo, root};

    impl Xtask {
        /// With the cache that the user has.
        pub(crate) fn with_kernels(words: &[&str]) -> Self {
            Self::with_cache(words, tempfile::tempdir().unwrap(), None)
        }
    }

    /// The cache that the user has.
    pub(crate) fn users_cache() -> PathBuf {
        let named = std::env::var_os("HOOKLAB_CACHE").map(PathBuf::from);
        named.unwrap_or_else(|| dirs::cache_dir().unwrap().join("hooklab"))
    }

    /// Makes what the user's cache has, but for these entries, be in another one, too.
    pub(crate) fn share_cache(with: &Path, left_out: &[&str]) {
        for entry in fs::read_dir(users_cache()).unwrap().flatten() {
            if !left_out.iter().any(|name| entry.file_name() == *name) {
                symlink(entry.path(), with.join(entry.file_name())).unwrap();
            }
        }
    }

    /// The directory in the user's cache of the kernel that the lock of this checkout names for a spec, whatever else is
    /// there.
    pub(crate) fn locked_kernel(spec: &str) -> PathBuf {
        Xtask::with_kernels(&["kernels", "fetch", spec]).ends_with(0);
        let lock: Lock =
            toml::from_str(&fs::read_to_string(root().join("vm/kernels.lock")).unwrap()).unwrap();
        let pin = lock.kernel.iter().find(|pin| pin.spec == spec).unwrap();
        // As the lab names it: by the release and its packages' hashes.
        let mut hash = Sha256::new();
        pin.package.iter().for_each(|package| hash.update(&package.sha256));
        let hash: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let directory = users_cache().join(format!("kernels/{}-{hash}", pin.release));
        assert!(directory.join("kernel.json").exists(), "there is no {}", directory.display());
        directory
    }

    /// `vm/kernels.lock`, as far as it is needed here.
    #[derive(Deserialize)]
    struct Lock {
        kernel: Vec<Pin>,
    }

    #[derive(Deserialize)]
    struct Pin {
        spec: String,
        release: String,
        package: Vec<Package>,
    }

    #[derive(Deserialize)]
    struct Package {
        sha256: String,
    }

    /// The folders in `/proc` of the processes of runs with this temporary folder.
    pub(crate) fn processes(temporary: &Path) -> impl Iterator<Item = PathBuf> + use<> {
        let variable = format!("TMPDIR={}", temporary.display());
        let is_ours = move |process: &PathBuf| {
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
        };
        fs::read_dir("/proc").unwrap().flatten().map(|process| process.path()).filter(is_ours)
    }

    /// QEMUs among them, by their PIDs, that have not ended.
    pub(crate) fn machines(temporary: &Path) -> Vec<u32> {
        let is_qemu = |process: &PathBuf| {
            let program = fs::read_link(process.join("exe")).unwrap_or_default();
            program.to_string_lossy().contains("/qemu-system-")
        };
        let machines = processes(temporary).filter(is_qemu);
        machines.filter_map(|process| process.file_name()?.to_str()?.parse().ok()).collect()
    }

    /// The static binary with tests that misbehave.
    pub(crate) fn specimens() -> String {
        static PATH: OnceLock<String> = OnceLock::new();
        let build = || {
            let built = Xtask::with_kernels(&["build"]).ends_with(0).stdout;
            built.lines().find(|line| line.contains("/misbehaving-")).unwrap().to_owned()
        };
        PATH.get_or_init(build).clone()
    }

    /// A JSON report.
    pub(crate) fn read(json: &str) -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap()
    }

    /// The same, as a process to talk to while it runs.
    pub(crate) fn spawn(words: &[&str], temporary: &Path) -> std::process::Child {
        std::process::Command::new(cargo())
            .arg("xtask")
            .args(words)
            .current_dir(root())
            .env("TMPDIR", temporary)
            .env("HOOKLAB_ECLI", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}
