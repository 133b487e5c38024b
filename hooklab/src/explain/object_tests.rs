use object::write::{Object as Writer, Symbol, SymbolSection};
use object::{BinaryFormat, SectionKind, SymbolFlags, SymbolScope};

use super::*;

/// An object with these functions, each with its section.
fn write(endianness: Endianness, functions: &[(&str, &str)]) -> Vec<u8> {
    let mut object = Writer::new(BinaryFormat::Elf, Architecture::Bpf, endianness);
    for (section, function) in functions {
        let id = object.add_section(Vec::new(), section.as_bytes().to_vec(), SectionKind::Text);
        object.append_section_data(id, &[0; 8], 8);
        object.add_symbol(Symbol {
            name: function.as_bytes().to_vec(),
            value: 0,
            size: 8,
            kind: SymbolKind::Text,
            scope: SymbolScope::Linkage,
            weak: false,
            section: SymbolSection::Section(id),
            flags: SymbolFlags::None,
        });
    }
    object.write().unwrap()
}

#[test]
fn every_function_outside_text_is_a_program_whatever_its_section() {
    let functions = [("?kprobe.multi/x", "a"), (".text", "helper"), ("other", "b")];
    let found = programs(&write(Endianness::Little, &functions)).unwrap();
    let expected = [("a", "?kprobe.multi/x"), ("b", "other")];
    let expected = expected.map(|(name, section)| Program { name: name.into(), section: section.into() });
    assert_eq!(found, expected);
}

#[test]
fn what_no_kernel_could_load_is_refused() {
    let refused = |bytes: &[u8]| programs(bytes).unwrap_err();
    assert!(refused(b"").contains("not an ELF file"));
    assert!(refused(b" {\"meta\": {}}").contains("it is a package"));
    assert!(refused(&fs::read("/proc/self/exe").unwrap()).contains("not an eBPF object"));
    let (little, big) = (Endianness::Little, Endianness::Big);
    let other = if cfg!(target_endian = "little") { big } else { little };
    assert!(refused(&write(other, &[("tp/a/b", "a")])).contains("other byte order"));
    assert!(refused(&write(little, &[(".text", "helper")])).contains("no program"));
    let whole = write(little, &[("tp/a/b", "a")]);
    for length in 0..whole.len() {
        // Cut anywhere, it is refused, or is still whole as to its programs; nothing panics.
        let _ = programs(&whole[..length]);
    }
    assert!(refused(&whole[..whole.len() / 2]).contains("damaged"));
    let names: Vec<String> = (0..=MOST_PROGRAMS).map(|number| format!("f{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| ("tp/a/b", &name[..])).collect();
    assert!(refused(&write(little, &many)).contains("2000 is the limit"));
}

#[test]
fn files_of_the_same_name_are_told_apart_and_none_is_named_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = |place: &str| {
        let path = directory.path().join(place).join("a.o");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, write(Endianness::Little, &[("tp/a/b", "a")])).unwrap();
        path
    };
    let paths = [path("x"), path("y")];
    let read = |paths: &[PathBuf]| read_all(paths, &paths.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    assert_eq!(read(&paths[..1]).unwrap()[0].name, "a.o");
    let names: Vec<String> = read(&paths).unwrap().into_iter().map(|object| object.name).collect();
    assert_eq!(names, paths.each_ref().map(|path| path.display().to_string()));
    assert!(read(&[paths[0].clone(), paths[0].clone()]).unwrap_err().0.contains("named twice"));
    assert!(read(&[directory.path().to_owned()]).unwrap_err().0.contains("not a regular file"));
    assert!(read(&["/no/such.o".into()]).unwrap_err().0.contains("No such file"));
}
