//! Kernels of the host: image files, kernel build trees, the running kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::{KernelSource, Known, Obtained};
use crate::arch::{self, Arch};
use crate::event::Observer;
use crate::host::{FileError, digest};
use crate::kernel::error::Error;
use crate::kernel::image::{self, FormatError, Module};
use crate::kernel::parts::Parts;
use crate::kernel::spec::Spec;
use crate::kernel::stored::{Store, Stored};
use crate::kernel::types::{Kernel, Source};

/// Kernels of the host, used where they are.
pub(in crate::kernel) struct LocalSource<'a> {
    /// The modules of images, decompressed.
    store: Store,
    cancel: &'a AtomicBool,
}

impl<'a> LocalSource<'a> {
    pub(in crate::kernel) fn new(parts: &'a Parts) -> Self {
        Self { store: parts.module_store(), cancel: &parts.options.cancel }
    }

    fn obtain_image(&self, spec: &Spec, found: &LocalImage) -> Result<Obtained, Error> {
        let (modules, lease) = loop {
            match found.modules(&self.store, self.cancel)? {
                None => break (None, None),
                // Again, if another run has pruned it just now.
                Some(modules) => {
                    if let Some(lease) = self.store.hold(&modules) {
                        break (Some(modules), Some(lease));
                    }
                }
            }
        };
        let id = found.id(modules.as_ref())?;
        let source = Source::Image {
            image: found.image.clone(),
            config: found.config.clone(),
            modules: modules.map(|stored| stored.modules()).unwrap_or_default(),
        };
        let release = found.release.clone();
        let kernel = Kernel { spec: spec.to_string(), release, version: None, source, id };
        Ok(Obtained { kernel, lease })
    }
}

impl KernelSource for LocalSource<'_> {
    fn describe(&self, spec: &Spec) -> Result<Known, Error> {
        let release = match spec {
            Spec::Path(path) => find(path)?.release,
            _ => host_release()?,
        };
        Ok(Known { release: Some(release), cached: true, ..Known::default() })
    }

    fn check(&self, _: &Spec) -> Result<(), Error> {
        Ok(())
    }

    fn obtain(&self, spec: &Spec, _: &dyn Observer) -> Result<Obtained, Error> {
        if let Spec::Path(path) = spec {
            return self.obtain_image(spec, &find(path)?);
        }
        let release = host_release()?;
        let id = format!("host-{release}");
        let kernel = Kernel { spec: spec.to_string(), release, version: None, source: Source::Host, id };
        Ok(Obtained { kernel, lease: None })
    }
}

/// An image on the host with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LocalImage {
    image: PathBuf,
    /// What `uname -r` will print, or `unknown`.
    release: String,
    config: Option<PathBuf>,
    /// Directories to look for modules in, the likeliest first.
    module_directories: Vec<PathBuf>,
}

/// Finds what belongs to an image file or a build tree.
///
/// # Errors
/// There is no such file, it is no kernel, or the tree has not been built.
fn find(path: &Path) -> Result<LocalImage, Error> {
    let path = fs::canonicalize(path).map_err(FileError::of("read", path))?;
    if path.is_dir() { build_tree(&path, &arch::GUEST) } else { image_file(path, &arch::GUEST) }
}

fn build_tree(tree: &Path, arch: &Arch) -> Result<LocalImage, Error> {
    let image = tree.join(arch.built_image);
    if !image.exists() {
        let source = FormatError::NotBuilt { image: arch.built_image, command: arch.build_command };
        return Err(image::Error::NoKernel { path: tree.to_owned(), source }.into());
    }
    let from_image = image::release(&image, arch)?;
    let noted = fs::read_to_string(tree.join("include/config/kernel.release")).ok();
    let release = from_image.or_else(|| noted.map(|text| text.trim().to_owned()));
    Ok(LocalImage {
        image,
        release: release.unwrap_or_else(|| "unknown".into()),
        config: existing(tree.join(".config")),
        module_directories: vec![tree.join("drivers/virtio"), tree.join("drivers/char")],
    })
}

fn image_file(image: PathBuf, arch: &Arch) -> Result<LocalImage, Error> {
    let release = image::release(&image, arch)?.unwrap_or_else(|| "unknown".into());
    let directory = image.parent().unwrap_or(Path::new("/")).to_owned();
    // In /boot of an unpacked package or of the host; beside its modules; alone with the config of its build.
    let roots =
        [directory.join("../lib/modules"), directory.join("../usr/lib/modules"), "/lib/modules".into()];
    let mut module_directories: Vec<PathBuf> = roots.iter().map(|root| root.join(&release)).collect();
    if directory.ends_with(&release) {
        module_directories.insert(0, directory.clone());
    }
    module_directories.retain(|directory| directory.join("kernel").is_dir());
    let beside = [format!("config-{release}"), "config".into(), ".config".into()];
    let mut configs = beside.iter().map(|name| directory.join(name));
    let config = configs.find_map(existing);
    let config =
        config.or_else(|| module_directories.iter().find_map(|directory| existing(directory.join("config"))));
    Ok(LocalImage { image, release, config, module_directories })
}

fn existing(path: PathBuf) -> Option<PathBuf> {
    path.is_file().then_some(path)
}

impl LocalImage {
    /// Puts the modules that a guest needs into `store`, decompressed and in load order; none if it needs none.
    fn modules(&self, store: &Store, cancel: &AtomicBool) -> Result<Option<Stored>, Error> {
        let modules = self.needed_modules()?;
        if modules.is_empty() {
            return Ok(None);
        }
        let digest = digest::sha256(modules.iter().map(|module| digest::sha256([&module.content])));
        let key = format!("{}-{}", self.release, digest::hex(&digest[..6]));
        if let Some(stored) = store.get(&key) {
            return Ok(Some(stored));
        }
        let work = store.begin(&key, cancel, || {})?;
        if let Some(stored) = store.get(&key) {
            return Ok(Some(stored));
        }
        let mut filling = work.start()?;
        filling.modules(&modules)?;
        filling.finish(&self.release, None).map(Some)
    }

    /// The modules that a guest needs. Where no config tells, those that are there.
    fn needed_modules(&self) -> Result<Vec<Module>, Error> {
        let kernel = self.image.display().to_string();
        let wanted = match &self.config {
            Some(path) => {
                let text = fs::read_to_string(path).map_err(FileError::of("read", path))?;
                image::needed_modules(&text, &kernel)?
            }
            None => {
                let mut wanted = image::all_modules();
                wanted.retain(|name| find_file(&self.module_directories, name).is_some());
                wanted
            }
        };
        let directories: Vec<String> =
            self.module_directories.iter().map(|directory| directory.display().to_string()).collect();
        let place = match directories.is_empty() {
            true => format!("the image's directory or /lib/modules/{}", self.release),
            false => directories.join(" or "),
        };
        image::in_load_order(&wanted, &kernel, &place, |names| {
            let files = names.iter().filter_map(|name| find_file(&self.module_directories, name));
            files.map(|file| read_module(&file)).collect::<Result<_, _>>()
        })
    }

    /// A hash that changes with the image and the modules.
    fn id(&self, modules: Option<&Stored>) -> Result<String, Error> {
        let image = digest::sha256_of_file(&self.image).map_err(FileError::of("read", &self.image))?;
        let modules = modules.and_then(|stored| stored.key.rsplit('-').next()).unwrap_or("none");
        Ok(format!("{}-{}-{modules}", self.release, &image[..12]))
    }
}

fn read_module(file: &Path) -> Result<Module, Error> {
    let content = fs::File::open(file).map_err(FileError::of("read", file))?;
    Ok(image::read(&file.file_name().unwrap_or_default().to_string_lossy(), content)?)
}

/// The file of a module in the first of the directories that has it.
fn find_file(directories: &[PathBuf], name: &str) -> Option<PathBuf> {
    directories.iter().find_map(|directory| find_below(directory, name))
}

/// The file of a module somewhere below a directory. Links are not followed: `build` and `source` lead far away.
fn find_below(directory: &Path, name: &str) -> Option<PathBuf> {
    let mut below = Vec::new();
    for entry in fs::read_dir(directory).ok()?.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => below.push(entry.path()),
            Ok(kind) if kind.is_file() => {
                let file = entry.file_name();
                if image::name_of(&file.to_string_lossy()).is_some_and(|found| found == name) {
                    return Some(entry.path());
                }
            }
            _ => {}
        }
    }
    below.iter().find_map(|directory| find_below(directory, name))
}

/// What `uname -r` prints here.
fn host_release() -> Result<String, Error> {
    // `proc_sys_kernel(5)`: the same string as in `uname(2)`.
    let path = Path::new("/proc/sys/kernel/osrelease");
    let text = fs::read_to_string(path).map_err(FileError::of("read", path))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::GUEST;
    use crate::kernel::image::tests::{image, module};

    static NEVER: AtomicBool = AtomicBool::new(false);
    const AS_MODULES: &str = "CONFIG_VIRTIO_PCI=m\nCONFIG_VIRTIO_CONSOLE=m\n";

    fn write(path: PathBuf, content: impl AsRef<[u8]>) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn names(found: &LocalImage, store: &Store) -> Vec<String> {
        let stored = found.modules(store, &NEVER).unwrap();
        let modules = stored.map(|stored| stored.modules()).unwrap_or_default();
        assert!(modules.iter().all(|path| path.is_file()));
        modules.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    fn put_modules(virtio: &Path, char: &Path) {
        write(virtio.join("virtio.ko"), module("virtio", "").content);
        write(virtio.join("virtio-pci.ko"), module("virtio_pci", "virtio").content);
        write(char.join("virtio_console.ko"), module("virtio_console", "virtio").content);
    }

    #[test]
    fn an_image_finds_its_config_and_modules() {
        let root = tempfile::tempdir().unwrap();
        let modules = root.path().join("usr/lib/modules/6.1.9-test/kernel/drivers");
        write(root.path().join("boot/vmlinuz-6.1.9-test"), image("6.1.9-test x\0"));
        put_modules(&modules.join("virtio"), &modules.join("char"));
        let store = Store::new(root.path().join("cache"));
        let expected = ["00-virtio.ko", "01-virtio_pci.ko", "02-virtio_console.ko"];

        let found = find(&root.path().join("boot/vmlinuz-6.1.9-test")).unwrap();
        assert_eq!((found.release.as_str(), &found.config), ("6.1.9-test", &None));
        assert_eq!(names(&found, &store), expected, "without a config, what is there");

        write(root.path().join("boot/config-6.1.9-test"), AS_MODULES);
        let found = find(&root.path().join("boot/vmlinuz-6.1.9-test")).unwrap();
        assert!(found.config.is_some());
        assert_eq!(names(&found, &store), expected);

        write(root.path().join("boot/config-6.1.9-test"), AS_MODULES.replace("=m", "=y"));
        assert!(names(&found, &store).is_empty(), "all is built in");
    }

    #[test]
    fn a_needed_module_that_is_nowhere_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        write(root.path().join("vmlinuz"), image("6.1.9-test x\0"));
        write(root.path().join("config"), AS_MODULES);
        let found = find(&root.path().join("vmlinuz")).unwrap();
        let message = found.modules(&Store::new(root.path().join("c")), &NEVER).unwrap_err().to_string();
        assert!(message.contains("virtio_pci") && message.contains("/lib/modules/6.1.9-test"), "{message}");
    }

    #[test]
    fn a_build_tree_is_used_where_it_lies() {
        let tree = tempfile::tempdir().unwrap();
        let error = find(tree.path()).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Image(image::Error::NoKernel { source: FormatError::NotBuilt { .. }, .. })
            ),
            "{error:?}"
        );

        write(tree.path().join(GUEST.built_image), image("6.13.0-mine x\0"));
        write(tree.path().join(".config"), AS_MODULES);
        put_modules(&tree.path().join("drivers/virtio"), &tree.path().join("drivers/char"));
        let found = find(tree.path()).unwrap();
        assert_eq!(found.release, "6.13.0-mine");
        let store = Store::new(tree.path().join("cache"));
        assert_eq!(names(&found, &store).len(), 3);
    }

    #[test]
    fn the_id_changes_with_the_image() {
        let root = tempfile::tempdir().unwrap();
        let id = |version: &str| {
            write(root.path().join("vmlinuz"), image(version));
            find(&root.path().join("vmlinuz")).unwrap().id(None).unwrap()
        };
        assert_ne!(id("6.1.9-test x\0"), id("6.1.9-test y\0"));
        assert_eq!(id("6.1.9-test x\0"), id("6.1.9-test x\0"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let message = find(Path::new("/nonexistent/vmlinuz")).unwrap_err().to_string();
        assert_eq!(message, "failed to read /nonexistent/vmlinuz");
    }
}
