//! The cache of the tests: kernels of the user's, machines of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{TestEnv, root, target};

/// What the user's cache has, and this one does not take from it: kernels are linked one by one, and what was found out about
/// the host, apt's state and saved machines are made anew.
const OWN: &[&str] = &["kernels", "machines", "composed", "accelerator.json", "apt"];

/// The cache of the tests, below the target directory. It has the user's tools, and those of his kernels that the lock names; others
/// are fetched. It stays where it is from one run to the next, since a saved machine is known by the path of its image, too.
pub(crate) fn test_cache() -> &'static Path {
    static CACHE: LazyLock<PathBuf> = LazyLock::new(|| {
        let cache = target().join("hooklab/test-cache");
        fs::create_dir_all(cache.join("kernels")).unwrap();
        for entry in fs::read_dir(users_cache()).into_iter().flatten().flatten() {
            let linked = cache.join(entry.file_name());
            if !OWN.iter().any(|name| entry.file_name() == *name) && !linked.exists() {
                // One that leads nowhere is of a cache that the user had before.
                let _ = fs::remove_file(&linked);
                let _ = symlink(entry.path(), linked);
            }
        }
        for pin in &lock().kernel {
            copy_kernel(&pin.directory(&users_cache()), &pin.directory(&cache));
        }
        cache
    });
    &CACHE
}

/// Copies a kernel unless it is there. Hard links do: what is in a cache is replaced, never changed.
fn copy_kernel(from: &Path, to: &Path) {
    if !is_whole(from) || is_whole(to) {
        return;
    }
    let name = format!(".copy-{}-{}", std::process::id(), to.file_name().unwrap().display());
    let half = to.parent().unwrap().with_file_name(name);
    let copies = |how: &str| Command::new("cp").args(["-r", how]).args([from, &half]).output().unwrap();
    if !copies("--link").status.success() {
        // Another file system, or another user's files.
        let _ = fs::remove_dir_all(&half);
        let copied = copies("--reflink=auto");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    }
    // It fails if another process was faster.
    if fs::rename(&half, to).is_err() {
        fs::remove_dir_all(half).unwrap();
    }
}

fn is_whole(kernel: &Path) -> bool {
    kernel.join("kernel.json").exists()
}

/// The cache that the user has.
fn users_cache() -> PathBuf {
    let named = std::env::var_os("HOOKLAB_CACHE").filter(|name| !name.is_empty()).map(PathBuf::from);
    std::path::absolute(named.unwrap_or_else(|| dirs::cache_dir().unwrap().join("hooklab"))).unwrap()
}

impl TestEnv {
    /// An environment with the tests' cache except for these entries.
    pub(crate) fn without(left_out: &[&str]) -> Self {
        let env = Self::empty();
        let cache = env.directory("cache");
        let env = env.with_cache(&cache);
        for entry in fs::read_dir(test_cache()).unwrap().flatten() {
            if !left_out.iter().any(|name| entry.file_name() == *name) {
                symlink(entry.path(), cache.join(entry.file_name())).unwrap();
            }
        }
        env
    }

    /// An environment with the kernels and tools of the tests' cache, but no machines, and nothing found out about the host.
    pub(crate) fn with_own_machines() -> Self {
        Self::without(&["machines", "composed", "accelerator.json"])
    }
}

/// The directory in the tests' cache of the kernel that the lock of this checkout names for a spec, whatever else is there.
pub(crate) fn locked_kernel(spec: &str) -> PathBuf {
    TestEnv::shared().run(&["kernels", "fetch", spec]).exits_with(0);
    let directory = pin(spec).directory(test_cache());
    assert!(is_whole(&directory), "there is no {}", directory.display());
    directory
}

/// The size of the only package of the kernel that the lock names for a spec.
pub(crate) fn locked_size(spec: &str) -> usize {
    let [package] = &pin(spec).package[..] else { panic!("{spec} has several packages") };
    package.size
}

fn pin(spec: &str) -> Pin {
    lock().kernel.into_iter().find(|pin| pin.spec == spec).unwrap()
}

fn lock() -> Lock {
    toml::from_str(&fs::read_to_string(root().join("vm/kernels.lock")).unwrap()).unwrap()
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
    size: usize,
}

impl Pin {
    /// Where it is in a cache, which names it by its release and its packages' hashes.
    fn directory(&self, cache: &Path) -> PathBuf {
        let mut hash = Sha256::new();
        self.package.iter().for_each(|package| hash.update(&package.sha256));
        let hash: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        cache.join(format!("kernels/{}-{hash}", self.release))
    }
}
