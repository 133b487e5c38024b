//! The cache of the tests: kernels of the user's, machines of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{TestEnv, root, target};

/// Tools that set-up installed in the user's cache. Apart from these and its kernels, the tests use nothing of it: neither saved
/// machines, nor what was found out about the host, nor apt's state.
const TOOLS: &[&str] = &["bpf-linker", "rust-src", "virtiofsd", "virtme-ng"];

/// The cache of the tests, below the target directory. It has the user's tools, and those of the user's kernels that the lock names;
/// others are fetched. It stays where it is from one run to the next, since a saved machine is known by the path of its image, too.
pub(crate) fn test_cache() -> &'static Path {
    static CACHE: LazyLock<PathBuf> = LazyLock::new(|| {
        let cache = target().join("hooklab/test-cache");
        fs::create_dir_all(cache.join("kernels")).unwrap();
        link(&users_cache(), TOOLS, &cache);
        for pin in &lock().kernel {
            copy_kernel(&pin.directory(&users_cache()), &pin.directory(&cache));
        }
        cache
    });
    &CACHE
}

/// Makes entries of a cache entries of another one, too.
fn link(from: &Path, names: &[&str], to: &Path) {
    for name in names.iter().filter(|name| from.join(name).exists()) {
        let link = to.join(name);
        if !link.exists() {
            // One that leads nowhere is of a cache that the user had before.
            let _ = fs::remove_file(&link);
            // It fails if another process was faster.
            let _ = symlink(from.join(name), link);
        }
    }
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
    /// An environment with a cache of its own. It has the tools of the tests' cache, and shares these entries with it.
    pub(crate) fn with_own_cache(shared: &[&str]) -> Self {
        let env = Self::empty();
        let cache = env.directory("cache");
        link(test_cache(), &[TOOLS, shared].concat(), &cache);
        env.with_cache(&cache)
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
