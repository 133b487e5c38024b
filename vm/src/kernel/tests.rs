//! From a spec to files and back to messages, with a mirror in a directory: a package is built, pinned, fetched by apt's
//! own helper and unpacked. No network, no index.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread;

use super::image::tests::{image, module};
use super::*;
use crate::debian;
use crate::event::{Event, Observer};
use crate::host::digest;

#[path = "choice_tests.rs"]
mod choice;
#[path = "resume_tests.rs"]
mod resume;

const CATALOG: &str = "series = [{ name = '6.1', lts = true, default = true }, { name = '7.3' }]\n\
    [debian]\nflavours = ['amd64']\nmain = ['trixie']\nsecurity = []\n";
const AS_MODULES: &str = "CONFIG_VIRTIO_PCI=m\nCONFIG_VIRTIO_CONSOLE=m\n";
const BUILT_IN: &str = "CONFIG_VIRTIO_PCI=y\nCONFIG_VIRTIO_CONSOLE=y\n";

/// A mirror, a directory with catalog and lock, and a cache.
struct Lab {
    root: tempfile::TempDir,
    pins: Vec<Pin>,
}

impl Lab {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("vm")).unwrap();
        fs::write(root.path().join("vm/kernels.toml"), CATALOG).unwrap();
        Lab { root, pins: Vec::new() }
    }

    /// Builds a package with these files and puts it on the mirror.
    fn package(&self, name: &str, files: &[(&str, Vec<u8>)]) -> Package {
        let root = self.root.path().join("build");
        let _ = fs::remove_dir_all(&root);
        let control = format!(
            "Package: {name}\nVersion: 1-1\nArchitecture: all\nMaintainer: x <x@x.example>\nDescription: x\n"
        );
        for (path, content) in [("DEBIAN/control", control.into_bytes())].iter().chain(files) {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), content).unwrap();
        }
        let path = format!("pool/{name}.deb");
        let deb = self.root.path().join("mirror").join(&path);
        fs::create_dir_all(deb.parent().unwrap()).unwrap();
        let mut command = Command::new("dpkg-deb");
        command.args(["--root-owner-group", "-z0", "--build"]).arg(&root).arg(&deb).stdout(Stdio::null());
        assert!(command.status().unwrap().success());
        Package {
            name: name.into(),
            version: "1-1".into(),
            archive: Archive::Main,
            suite: "trixie".into(),
            path,
            size: fs::metadata(&deb).unwrap().len(),
            sha256: digest::sha256_of_file(&deb).unwrap(),
        }
    }

    /// Pins a kernel of the oldest layout.
    fn pin_old(&mut self) {
        let modules = "lib/modules/6.1.9-amd64/kernel/drivers";
        let files = [
            ("boot/config-6.1.9-amd64", AS_MODULES.into()),
            ("boot/vmlinuz-6.1.9-amd64", image("6.1.9-amd64 x\0")),
            (&format!("{modules}/virtio/virtio.ko"), module("virtio", "").content),
            (&format!("{modules}/virtio/virtio_pci.ko"), module("virtio_pci", "virtio").content),
            (&format!("{modules}/char/virtio_console.ko"), module("virtio_console", "virtio").content),
        ];
        let package = self.package("linux-image-6.1.9-amd64", &files);
        self.pin("6.1", "6.1.9-amd64", vec![package]);
    }

    /// Pins a kernel of the newest layout.
    fn pin_new(&mut self, config: &str) {
        let image = image("7.3.4-amd64 x\0");
        let binary =
            self.package("linux-binary-7.3.4-amd64", &[("usr/lib/modules/7.3.4-amd64/vmlinuz", image)]);
        let config = [("usr/lib/modules/7.3.4-amd64/config", config.into())];
        let base = self.package("linux-base-7.3.4-amd64", &config);
        let modules = self.package("linux-modules-7.3.4-amd64", &[("usr/x", vec![])]);
        self.pin("7.3", "7.3.4-amd64", vec![binary, base, modules]);
    }

    fn pin(&mut self, spec: &str, release: &str, packages: Vec<Package>) {
        let (spec, release, version) = (spec.into(), release.into(), "1-1".into());
        self.pins.push(Pin { spec, release, version, packages });
    }

    fn on_mirror(&self, name: &str) -> PathBuf {
        self.root.path().join(format!("mirror/pool/{name}.deb"))
    }

    fn kernels(&self, change: impl FnOnce(&mut Options)) -> Kernels {
        let vm = self.root.path().join("vm");
        Lock::new(self.pins.clone()).write(&vm.join("kernels.lock")).unwrap();
        let mirror = Some(format!("file:{}", self.root.path().join("mirror").display()));
        let mut options = Options { mirror, ..Options::default() };
        change(&mut options);
        let file = |name| Document::File(vm.join(name));
        let (catalog, pins) = (file("kernels.toml"), file("kernels.lock"));
        Kernels::open(&catalog, &pins, &self.root.path().join("cache"), options).unwrap()
    }

    fn obtain(&self, spec: &str) -> Result<Kernel, Error> {
        self.kernels(|_| {}).obtain(&spec.parse().unwrap(), &|_| {})
    }
}

/// The names of the files of a kernel below its directory.
fn files(kernel: &Kernel) -> Vec<String> {
    let Source::Image { image, config, modules } = &kernel.source else { panic!("no image") };
    let directory = image.parent().unwrap();
    let files = [image].into_iter().chain(config).chain(modules);
    let name = |path: &PathBuf| path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
    files.inspect(|path| assert!(path.is_file())).map(name).collect()
}

#[test]
fn a_kernel_in_one_package_is_fetched_with_its_modules_and_then_cached() {
    let mut lab = Lab::new();
    lab.pin_old();
    let kernel = lab.obtain("6.1").unwrap();
    assert_eq!((kernel.release.as_str(), kernel.version.as_deref()), ("6.1.9-amd64", Some("1-1")));
    let modules = ["modules/00-virtio.ko", "modules/01-virtio_pci.ko", "modules/02-virtio_console.ko"];
    assert_eq!(files(&kernel), [&["vmlinuz", "config"][..], &modules].concat());

    fs::remove_dir_all(lab.root.path().join("mirror")).unwrap();
    assert_eq!(lab.obtain("6.1").unwrap(), kernel);
    let strict = lab.kernels(|options| (options.locked, options.offline) = (true, true));
    assert_eq!(strict.obtain(&"6.1".parse().unwrap(), &|_| {}).unwrap(), kernel);
    let by_release = strict.obtain(&"6.1.9".parse().unwrap(), &|_| {}).unwrap();
    assert_eq!((by_release.spec.as_str(), by_release.id), ("6.1.9", kernel.id));
    assert!(strict.list()[0].cached && !strict.list()[1].cached);
}

#[test]
fn modules_that_are_built_in_are_not_downloaded() {
    let mut lab = Lab::new();
    lab.pin_new(BUILT_IN);
    fs::remove_file(lab.on_mirror("linux-modules-7.3.4-amd64")).unwrap();
    assert_eq!(files(&lab.obtain("7.3").unwrap()), ["vmlinuz", "config"]);
}

#[test]
fn a_module_that_is_needed_and_not_in_the_package_is_an_error() {
    let mut lab = Lab::new();
    lab.pin_new(AS_MODULES);
    let message = lab.obtain("7.3").unwrap_err().to_string();
    assert_eq!(
        message,
        "failed to find module virtio_pci for kernel 7.3.4-amd64: it is not in linux-modules-7.3.4-amd64"
    );
}

#[test]
fn without_its_config_a_kernel_is_used_with_a_warning() {
    let mut lab = Lab::new();
    lab.pin_new(BUILT_IN);
    fs::remove_file(lab.on_mirror("linux-base-7.3.4-amd64")).unwrap();
    let warnings = Mutex::new(Vec::new());
    let observer = |event| {
        if let Event::Warning(text) = event {
            warnings.lock().unwrap().push(text);
        }
    };
    let kernel = lab.kernels(|_| {}).obtain(&"7.3".parse().unwrap(), &observer).unwrap();
    assert_eq!(files(&kernel), ["vmlinuz"]);
    assert!(warnings.into_inner().unwrap()[0].contains("linux-base-7.3.4-amd64"));
}

#[test]
fn a_package_that_is_not_the_pinned_one_is_refused_and_not_kept() {
    let mut lab = Lab::new();
    lab.pin_old();
    let good = lab.pins[0].packages[0].sha256.clone();
    lab.pins[0].packages[0].sha256 = "ab".repeat(32);
    let message = lab.obtain("6.1").unwrap_err().to_string();
    assert!(message.starts_with("failed to verify linux-image-6.1.9-amd64 1-1: "), "{message}");
    let debs = fs::read_dir(lab.root.path().join("cache/kernels")).unwrap().flatten();
    let works: Vec<_> = debs.filter(|entry| entry.path().join("debs").exists()).collect();
    assert_eq!(fs::read_dir(works[0].path().join("debs")).unwrap().count(), 0);
    lab.pins[0].packages[0].sha256 = good;
    lab.obtain("6.1").unwrap();
}

#[test]
fn a_damaged_download_of_an_earlier_run_is_not_believed() {
    let mut lab = Lab::new();
    lab.pin_old();
    let debs = lab.root.path().join(format!("cache/kernels/.work-{}/debs", lab.pins[0].key()));
    fs::create_dir_all(&debs).unwrap();
    let size = usize::try_from(lab.pins[0].packages[0].size).unwrap();
    for size in [size, size / 2, size * 2] {
        fs::write(debs.join("linux-image-6.1.9-amd64.deb"), vec![0; size]).unwrap();
        let _ = fs::remove_dir_all(lab.root.path().join("cache/kernels").join(lab.pins[0].key()));
        assert_eq!(files(&lab.obtain("6.1").unwrap()).len(), 5, "{size} bytes");
        fs::create_dir_all(&debs).unwrap();
    }
}

#[test]
fn an_image_of_another_release_is_refused() {
    let mut lab = Lab::new();
    let package =
        lab.package("linux-image-6.1.9-amd64", &[("boot/vmlinuz-6.1.9-amd64", image("6.1.8-amd64 x\0"))]);
    lab.pin("6.1", "6.1.9-amd64", vec![package]);
    assert!(lab.obtain("6.1").unwrap_err().to_string().contains("6.1.8-amd64, not 6.1.9-amd64"));
}

#[test]
fn what_cannot_be_had_is_refused_by_resolve_and_obtain_alike() {
    let mut lab = Lab::new();
    lab.pin_old();
    let root = lab.root.path().join("cache");
    type Change = fn(&mut Options);
    let cases: [(&str, Change, &str); 5] = [
        ("9.99", |_| {}, "failed to find a kernel for `9.99`: there are 6.1, 7.3"),
        ("9.99.1", |_| {}, "failed to find a kernel for `9.99.1`: there are 6.1, 7.3"),
        ("7.3", |options| options.locked = true, "failed to use kernel 7.3: "),
        ("6.1.8", |options| options.locked = true, "failed to use kernel 6.1.8: "),
        (
            "6.1",
            |options| options.offline = true,
            "failed to get kernel 6.1 (6.1.9-amd64): it is not in the cache at ",
        ),
    ];
    for (spec, change, expected) in cases {
        let kernels = lab.kernels(change);
        let spec: Spec = spec.parse().unwrap();
        let resolved = kernels.resolve(&spec).unwrap_err().to_string();
        let obtained = kernels.obtain(&spec, &|_| {}).unwrap_err().to_string();
        assert!(resolved.starts_with(expected), "{resolved}");
        assert_eq!(resolved, obtained);
    }
    assert!(!root.exists(), "a refusal leaves nothing behind");
}

#[test]
fn offline_another_kernel_of_the_series_serves_with_a_warning() {
    let mut lab = Lab::new();
    lab.pin_old();
    let kernel = lab.obtain("6.1").unwrap();
    lab.pins[0].release = "6.1.10-amd64".into();
    let warnings = Mutex::new(0);
    let observer = |_| *warnings.lock().unwrap() += 1;
    let offline = lab.kernels(|options| options.offline = true);
    assert_eq!(offline.obtain(&"6.1".parse().unwrap(), &observer).unwrap().id, kernel.id);
    assert_eq!(warnings.into_inner().unwrap(), 1);
    let locked = lab.kernels(|options| (options.locked, options.offline) = (true, true));
    assert!(matches!(locked.obtain(&"6.1".parse().unwrap(), &|_| {}), Err(Error::NotCached { .. })));
}

#[test]
fn many_at_once_download_once() {
    let mut lab = Lab::new();
    lab.pin_old();
    let kernels = lab.kernels(|_| {});
    let downloads = Mutex::new(HashMap::<String, u32>::new());
    let observer = |event| {
        if let Event::Step(text) = event {
            *downloads.lock().unwrap().entry(text).or_default() += 1;
        }
    };
    let observer: &dyn Observer = &observer;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| kernels.obtain(&"6.1".parse().unwrap(), observer).unwrap());
        }
    });
    assert_eq!(downloads.into_inner().unwrap()["downloading linux-image-6.1.9-amd64 1-1"], 1);
}

#[test]
fn a_cache_that_cannot_be_made_is_named() {
    let mut lab = Lab::new();
    lab.pin_old();
    fs::write(lab.root.path().join("cache"), "a file").unwrap();
    let message = lab.obtain("6.1").unwrap_err().to_string();
    assert!(message.starts_with("failed to create ") && message.contains("cache"), "{message}");
}

/// Whether this comes to hold: a process that another test forks just now has our locks until it executes.
pub(crate) fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    for _ in 0..500 {
        if holds() {
            return true;
        }
        thread::sleep(std::time::Duration::from_millis(10));
    }
    holds()
}

/// Prunes until `count` things are removed, or gives up.
pub(crate) fn pruned<T>(count: usize, prune: impl Fn() -> Vec<T>) -> Vec<T> {
    let mut removed = Vec::new();
    eventually(|| {
        removed.extend(prune());
        removed.len() >= count
    });
    removed
}

#[test]
fn prune_removes_what_the_lock_does_not_name() {
    let mut lab = Lab::new();
    lab.pin_old();
    lab.obtain("6.1").unwrap();
    assert!(lab.kernels(|_| {}).prune().unwrap().is_empty());
    lab.pins.clear();
    let removed = pruned(1, || lab.kernels(|_| {}).prune().unwrap());
    assert!(removed.len() == 1 && removed[0].bytes > 0x1000 && !removed[0].path.exists());
}

#[test]
fn prune_spares_what_a_run_uses() {
    let mut lab = Lab::new();
    lab.pin_old();
    let boot = lab.root.path().join("boot");
    fs::create_dir(&boot).unwrap();
    fs::write(boot.join("vmlinuz-6.1.9-mine"), image("6.1.9-mine x\0")).unwrap();
    let modules = lab.root.path().join("lib/modules/6.1.9-mine/kernel");
    fs::create_dir_all(&modules).unwrap();
    fs::write(modules.join("virtio_console.ko"), module("virtio_console", "").content).unwrap();

    let run = lab.kernels(|_| {});
    let local = Spec::Path(boot.join("vmlinuz-6.1.9-mine"));
    let obtained = run.obtain_all(&["6.1".parse().unwrap(), local], &|_| {});
    assert!(obtained.iter().all(Result::is_ok), "{obtained:?}");
    lab.pins.clear();
    let pruner = lab.kernels(|_| {});
    assert_eq!(pruner.prune().unwrap(), []);
    drop(run);
    assert_eq!(pruned(2, || pruner.prune().unwrap()).len(), 2);
}

#[test]
fn the_host_is_what_runs_here() {
    let kernel = Lab::new().obtain("host").unwrap();
    assert_eq!(kernel.source, Source::Host);
    assert!(Path::new("/proc/sys/kernel/osrelease").exists() && !kernel.release.is_empty());
}

#[test]
fn another_package_is_checked_and_only_what_is_wanted_is_unpacked() {
    let lab = Lab::new();
    let source = "usr/src/rustc-1.0.0/library/core/src/lib.rs";
    let mut package = lab.package("rust-src", &[(source, b"core".to_vec()), ("usr/share/doc/x", vec![])]);
    let target = lab.root.path().join("target");
    let unpack = |package: &Package| {
        let place = |path: &str| path.strip_prefix("usr/src/rustc-1.0.0/").map(PathBuf::from);
        lab.kernels(|_| {}).repository().unpack(package, &target, place, &|_| {})
    };
    unpack(&package).unwrap();
    assert_eq!(fs::read_to_string(target.join("library/core/src/lib.rs")).unwrap(), "core");
    let names: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["library"], "and neither the rest nor the download");

    package.sha256 = "00".repeat(32);
    assert!(matches!(unpack(&package), Err(debian::Error::Mismatch { .. })));
}
