//! Kernel modules: how their files are compressed, what they depend on, in which order they load.

use std::collections::HashMap;
use std::io::{self, Read};

use object::{Object, ObjectSection};

use super::error::{Error, ModuleError};

/// No module of a virtio driver comes near this many bytes; more is a damaged file.
const LARGEST: u64 = 64 << 20;

/// A module, decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kernel) struct Module {
    /// With underscores, as the kernel lists it.
    pub(in crate::kernel) name: String,
    /// The ELF file.
    pub(in crate::kernel) content: Vec<u8>,
}

/// The ends of modules' file names.
const SUFFIXES: [&str; 4] = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"];

/// The name of the module in a file of this name; none if the file is no module.
pub(in crate::kernel) fn name_of(file: &str) -> Option<String> {
    let stem = SUFFIXES.iter().find_map(|suffix| file.strip_suffix(suffix))?;
    // Files have either sign; the kernel has underscores.
    Some(stem.replace('-', "_"))
}

/// Reads a module from a file of this name, decompressing it as the name says.
pub(in crate::kernel) fn read(file: &str, mut content: impl Read) -> Result<Module, Error> {
    let damaged = |source| Error::Module { name: file.to_owned(), source };
    let name = name_of(file).ok_or_else(|| damaged(ModuleError::NoModule))?;
    let content = if file.ends_with(".xz") {
        limited(liblzma::read::XzDecoder::new(content))
    } else if file.ends_with(".zst") {
        match ruzstd::decoding::StreamingDecoder::new(&mut content) {
            Ok(decoder) => limited(decoder),
            Err(error) => return Err(damaged(io::Error::other(error).into())),
        }
    } else if file.ends_with(".gz") {
        return Err(damaged(ModuleError::Gzip));
    } else {
        limited(content)
    };
    Ok(Module { name, content: content.map_err(|error| damaged(error.into()))? })
}

/// Reads all of it, up to [`LARGEST`].
fn limited(source: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    source.take(LARGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST {
        return Err(io::Error::other("it is too large for a module"));
    }
    Ok(content)
}

/// The names of the modules that must be loaded before this one: `depends=` in its section `.modinfo`, which holds
/// strings that end in a NUL (`include/linux/moduleparam.h`, `scripts/mod/modpost.c`).
fn dependencies(module: &Module) -> Result<Vec<String>, Error> {
    let read = || {
        let file = object::File::parse(&*module.content)?;
        let section = file.section_by_name(".modinfo").ok_or(ModuleError::NoInformation)?;
        Ok(depends(section.data()?))
    };
    read().map_err(|source| Error::Module { name: module.name.clone(), source })
}

/// The names in `depends=` of a `.modinfo`.
fn depends(info: &[u8]) -> Vec<String> {
    let list = info.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"depends="));
    let list = String::from_utf8_lossy(list.unwrap_or_default()).into_owned();
    list.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// Gives the wanted modules and all that they depend on, each after what it depends on.
///
/// `find` looks modules up by name; it is asked for several at once because looking can mean to unpack an archive.
/// `kernel` and `place` are for messages.
pub(in crate::kernel) fn in_load_order<E: From<Error>>(
    wanted: &[&str],
    kernel: &str,
    place: &str,
    mut find: impl FnMut(&[String]) -> Result<Vec<Module>, E>,
) -> Result<Vec<Module>, E> {
    let mut known: HashMap<String, (Module, Vec<String>)> = HashMap::new();
    let mut missing: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    while !missing.is_empty() {
        for module in find(&missing)? {
            let depends = dependencies(&module)?;
            known.insert(module.name.clone(), (module, depends));
        }
        if let Some(name) = missing.iter().find(|name| !known.contains_key(*name)) {
            let (module, kernel, place) = (name.clone(), kernel.to_owned(), place.to_owned());
            return Err(Error::NoModule { module, kernel, place }.into());
        }
        let depends = known.values().flat_map(|(_, depends)| depends);
        missing = depends.filter(|name| !known.contains_key(*name)).cloned().collect();
        missing.sort();
        missing.dedup();
    }
    let mut ordered = Vec::new();
    for name in wanted {
        take_after_dependencies(name, &mut known, &mut ordered);
    }
    Ok(ordered)
}

/// Moves a module to the end of `ordered`, after what it depends on. What has been moved is not found again, so a
/// circle, which the kernel's build forbids, would end as well.
fn take_after_dependencies(
    name: &str,
    known: &mut HashMap<String, (Module, Vec<String>)>,
    ordered: &mut Vec<Module>,
) {
    if let Some((module, depends)) = known.remove(name) {
        for name in &depends {
            take_after_dependencies(name, known, ordered);
        }
        ordered.push(module);
    }
}

#[cfg(test)]
pub(in crate::kernel) mod tests {
    use super::*;
    use object::write::Object as Elf;
    use object::{Architecture, BinaryFormat, Endianness, SectionKind};

    /// An ELF file such as the kernel's build makes.
    pub(in crate::kernel) fn module(name: &str, depends: &str) -> Module {
        let mut elf = Elf::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let section = elf.add_section(Vec::new(), b".modinfo".to_vec(), SectionKind::ReadOnlyData);
        let info = format!("license=GPL\0depends={depends}\0retpoline=Y\0name={name}\0");
        elf.append_section_data(section, info.as_bytes(), 1);
        Module { name: name.to_owned(), content: elf.write().unwrap() }
    }

    fn order(modules: &[Module], wanted: &[&str]) -> Result<Vec<String>, Error> {
        let find = |names: &[String]| {
            let found = modules.iter().filter(|module| names.contains(&module.name));
            Ok::<_, Error>(found.cloned().collect())
        };
        let ordered = in_load_order(wanted, "5.10", "the package", find)?;
        Ok(ordered.into_iter().map(|module| module.name).collect())
    }

    #[test]
    fn each_module_comes_after_what_it_depends_on_and_once() {
        let modules = [
            module("virtio_console", "virtio_ring,virtio"),
            module("virtio_pci", "virtio_ring,virtio"),
            module("virtio", ""),
            module("virtio_ring", "virtio"),
            module("virtio_net", "virtio"),
        ];
        assert_eq!(
            order(&modules, &["virtio_pci", "virtio_console"]).unwrap(),
            ["virtio", "virtio_ring", "virtio_pci", "virtio_console"]
        );
    }

    #[test]
    fn a_dependency_that_is_nowhere_is_named() {
        let message = order(&[module("virtio_pci", "virtio")], &["virtio_pci"]).unwrap_err().to_string();
        assert_eq!(message, "failed to find module virtio for kernel 5.10: it is not in the package");
    }

    #[test]
    fn a_circle_ends() {
        assert_eq!(order(&[module("a", "b"), module("b", "a")], &["a"]).unwrap(), ["b", "a"]);
    }

    #[test]
    fn dependencies_are_read_with_underscores() {
        assert_eq!(depends(b"license=GPL\0depends=virtio-ring,virtio\0x=y\0"), ["virtio_ring", "virtio"]);
        assert!(depends(b"license=GPL\0depends=\0").is_empty());
        assert!(depends(b"").is_empty());
    }

    #[test]
    fn each_compression_is_undone() {
        let text = b"module".repeat(1000);
        let mut xz = Vec::new();
        liblzma::read::XzEncoder::new(&text[..], 6).read_to_end(&mut xz).unwrap();
        let zst = ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest);
        for (file, bytes) in
            [("virtio-pci.ko", &text), ("virtio_pci.ko.xz", &xz), ("virtio_pci.ko.zst", &zst)]
        {
            let module = read(file, &bytes[..]).unwrap();
            assert_eq!((module.name.as_str(), module.content == text), ("virtio_pci", true), "{file}");
        }
        assert!(read("virtio_pci.ko.xz", &text[..]).is_err());
        assert!(read("virtio_pci.ko.zst", &text[..]).is_err());
        let gzip = read("virtio_pci.ko.gz", &text[..]);
        assert!(matches!(gzip, Err(Error::Module { source: ModuleError::Gzip, .. })));
        assert!(read("virtio_pci.txt", &text[..]).is_err());
    }

    #[test]
    fn what_is_no_elf_is_refused() {
        let broken = Module { name: "virtio".into(), content: b"text".to_vec() };
        assert!(dependencies(&broken).is_err());
    }
}
