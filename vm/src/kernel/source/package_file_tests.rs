//! Tests of [`super`], with packages that `dpkg-deb` makes.

use std::process::{Command, Stdio};

use super::*;
use crate::kernel::image::tests::{image, module};

static NEVER: AtomicBool = AtomicBool::new(false);
const RELEASE: &str = "6.6.9-test";
const AS_MODULES: &[u8] = b"CONFIG_VIRTIO_PCI=m\nCONFIG_VIRTIO_CONSOLE=y\n";

/// A package with these files.
fn package(directory: &Path, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let root = tempfile::tempdir().unwrap();
    let control = format!(
        "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x.example>\nDescription: x\n"
    );
    for (path, content) in [("DEBIAN/control", control.as_bytes())].iter().chain(files) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let deb = directory.join(format!("{name}_1_all.deb"));
    let mut command = Command::new("dpkg-deb");
    command.args(["--root-owner-group", "--build"]).arg(root.path()).arg(&deb).stdout(Stdio::null());
    assert!(command.status().unwrap().success());
    deb
}

fn stored(deb: &Path, cache: &Path) -> Result<Stored, Error> {
    let file = PackageFile { path: deb, store: Store::new(cache.to_owned()), cancel: &NEVER };
    file.stored(&|_: Event| {})
}

fn names(stored: &Stored) -> Vec<String> {
    stored.modules().iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn image_config_and_modules_of_one_package_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (virtio, pci) = (module("virtio", ""), module("virtio_pci", "virtio"));
    let files: [(&str, &[u8]); 5] = [
        ("boot/vmlinuz-6.6.9-test", &image("6.6.9-test x\0")),
        ("boot/config-6.6.9-test", AS_MODULES),
        ("lib/modules/6.6.9-test/kernel/virtio.ko", &virtio.content),
        ("lib/modules/6.6.9-test/kernel/virtio_pci.ko", &pci.content),
        ("lib/modules/6.6.9-test/kernel/other.ko", b"no module"),
    ];
    let deb = package(directory.path(), "linux-image-6.6.9-test", &files);
    let kept = stored(&deb, &directory.path().join("cache")).unwrap();
    assert_eq!(kept.record.release, RELEASE);
    assert_eq!(names(&kept), ["00-virtio.ko", "01-virtio_pci.ko"]);
    assert!(kept.config().is_some_and(|path| path.is_file()) && kept.image().is_file());
    // The second time it is there.
    fs::set_permissions(&deb, std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
    assert_eq!(stored(&deb, &directory.path().join("cache")).unwrap().key, kept.key);
}

#[test]
fn what_an_image_s_package_lacks_comes_from_the_one_of_its_modules() {
    let directory = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 1] = [("boot/vmlinuz-6.6.9-test", &image("6.6.9-test x\0"))];
    let deb = package(directory.path(), "linux-image-unsigned-6.6.9-test", &files);
    let cache = directory.path().join("cache");
    let error = stored(&deb, &cache).unwrap_err();
    assert!(matches!(&error, Error::Package { source: PackageError::NoConfig { .. }, .. }), "{error:?}");

    // Of another release, and so no sibling.
    let other: [(&str, &[u8]); 1] =
        [("boot/config-6.6.10-test", b"CONFIG_VIRTIO_PCI=y\nCONFIG_VIRTIO_CONSOLE=y\n")];
    package(directory.path(), "linux-modules-6.6.10-test", &other);
    assert!(stored(&deb, &cache).is_err());

    let (virtio, pci) = (module("virtio", ""), module("virtio_pci", "virtio"));
    let files: [(&str, &[u8]); 3] = [
        ("boot/config-6.6.9-test", AS_MODULES),
        ("usr/lib/modules/6.6.9-test/kernel/virtio.ko", &virtio.content),
        ("usr/lib/modules/6.6.9-test/kernel/virtio_pci.ko", &pci.content),
    ];
    package(directory.path(), "linux-modules-6.6.9-test", &files);
    assert_eq!(names(&stored(&deb, &cache).unwrap()), ["00-virtio.ko", "01-virtio_pci.ko"]);
}

#[test]
fn what_is_no_kernel_s_package_is_refused_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    let refused = |deb: &Path| {
        let error = stored(deb, &cache).unwrap_err();
        let kept: Vec<Stored> = Store::new(cache.clone()).all();
        assert!(kept.is_empty(), "{error}");
        error
    };
    let modules = package(directory.path(), "linux-modules-only", &[("boot/config-6.6.9-test", AS_MODULES)]);
    assert!(matches!(refused(&modules), Error::Package { source: PackageError::NoImage, .. }));

    let files: [(&str, &[u8]); 1] = [("boot/vmlinuz-6.6.9-test", &image("6.6.8-test x\0"))];
    let other = package(directory.path(), "linux-image-other", &files);
    assert!(matches!(refused(&other), Error::AnotherRelease { .. }));

    let whole = fs::read(&other).unwrap();
    let half = directory.path().join("half.deb");
    fs::write(&half, &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(refused(&half), Error::Debian(_)));
    fs::write(&half, "no archive").unwrap();
    assert!(matches!(refused(&half), Error::Debian(_)));
}
