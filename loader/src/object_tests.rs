//! Tests of the inspection, on objects made here and not by a compiler.

use object::write::{
    Object as Writer, Relocation, SectionId, StandardSection, Symbol, SymbolId, SymbolSection,
};
use object::{BinaryFormat, SectionKind, SymbolFlags, SymbolScope};

use super::*;
use crate::HookKind;

/// Builds eBPF objects for tests.
struct Builder {
    elf: Writer<'static>,
    rodata: SectionId,
}

impl Builder {
    fn new() -> Self {
        let mut elf = Writer::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        let rodata = elf.section_id(StandardSection::ReadOnlyData);
        Self { elf, rodata }
    }

    fn symbol(
        &mut self,
        name: &str,
        kind: SymbolKind,
        section: SectionId,
        value: u64,
        size: u64,
    ) -> SymbolId {
        self.elf.add_symbol(Symbol {
            name: name.into(),
            value,
            size,
            kind,
            scope: SymbolScope::Linkage,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        })
    }

    /// A global of four bytes.
    fn global(&mut self, name: &str, offset: u64) -> SymbolId {
        self.elf.append_section_data(self.rodata, &[0; 4], 4);
        self.symbol(name, SymbolKind::Data, self.rodata, offset, 4)
    }

    /// A program of one `ld_imm64` with that immediate, and the section that it is in.
    fn program(&mut self, section: &str, name: &str, immediate: u32) -> SectionId {
        let id = self.elf.add_section(Vec::new(), section.into(), SectionKind::Text);
        let mut code = vec![0x18, 0x01, 0, 0];
        code.extend(immediate.to_le_bytes());
        code.extend([0; 8]);
        self.elf.append_section_data(id, &code, 8);
        self.symbol(name, SymbolKind::Text, id, 0, 16);
        id
    }

    fn relocate(&mut self, code: SectionId, symbol: SymbolId, r_type: u32) {
        let flags = RelocationFlags::Elf { r_type };
        self.elf.add_relocation(code, Relocation { offset: 0, symbol, addend: 0, flags }).expect("sound");
    }

    fn inspect(&self) -> Result<Object, Error> {
        Object::parse(Path::new("x.bpf.o"), self.elf.write().expect("sound"))
    }

    fn filter(&self) -> Option<Global> {
        self.inspect().expect("an object").global("pid_filter").expect("sound")
    }
}

#[test]
fn programs_and_their_hooks() {
    let mut object = Builder::new();
    object.program("tp/syscalls/sys_enter_write", "first", 0);
    object.program("tracepoint/sched/sched_switch", "second", 0);
    object.program(".text", "helper", 0);
    let found = object.inspect().expect("an object");
    let shown: Vec<_> = found.programs().iter().map(|p| format!("{} {}", p.name, p.hook)).collect();
    assert_eq!(shown, ["first tp/syscalls/sys_enter_write", "second tp/sched/sched_switch"]);
}

#[test]
fn an_object_without_programs() {
    let mut object = Builder::new();
    object.program(".text", "helper", 0);
    assert!(matches!(object.inspect(), Err(Error::NoProgram { .. })));
}

#[test]
fn a_section_that_nobody_knows() {
    let mut object = Builder::new();
    object.program("kprobes/ksys_write", "probe", 0);
    let found = object.inspect().expect("an object");
    assert_eq!(found.programs()[0].section, "kprobes/ksys_write");
    assert_eq!(found.programs()[0].hook.kind, HookKind::Other);
}

#[test]
fn a_global_that_is_read_by_its_own_symbol() {
    let mut object = Builder::new();
    let code = object.program("tp/a/b", "f", 0);
    let symbol = object.global("pid_filter", 0);
    object.relocate(code, symbol, elf::R_BPF_64_64);
    let global = object.filter().expect("there");
    assert_eq!((global.section.as_str(), global.offset, global.size), (".rodata", 0, 4));
    assert!(global.is_read);
}

#[test]
fn a_global_that_is_read_from_its_sections_start() {
    for (immediate, is_read) in [(0, false), (4, true), (7, true), (8, false)] {
        let mut object = Builder::new();
        let code = object.program("tp/a/b", "f", immediate);
        object.global("other", 0);
        object.global("pid_filter", 4);
        let section = object.elf.section_symbol(object.rodata);
        object.relocate(code, section, elf::R_BPF_64_64);
        assert_eq!(object.filter().expect("there").is_read, is_read, "immediate {immediate}");
    }
}

#[test]
fn a_global_that_is_read_by_a_helper_function() {
    let mut object = Builder::new();
    object.program("tp/a/b", "f", 0);
    let helper = object.program(".text", "helper", 0);
    let symbol = object.global("pid_filter", 0);
    object.relocate(helper, symbol, elf::R_BPF_64_64);
    assert!(object.filter().expect("there").is_read);
}

#[test]
fn a_folded_global() {
    let mut object = Builder::new();
    let code = object.program("tp/a/b", "f", 0);
    object.global("pid_filter", 0);
    let other = object.global("other", 4);
    object.relocate(code, other, elf::R_BPF_64_64);
    assert!(!object.filter().expect("there").is_read);
}

#[test]
fn relocations_of_other_kinds_and_sections_read_nothing() {
    let mut object = Builder::new();
    object.program("tp/a/b", "f", 0);
    let symbol = object.global("pid_filter", 0);
    let debug = object.elf.add_section(Vec::new(), b".debug_info".to_vec(), SectionKind::Debug);
    object.elf.append_section_data(debug, &[0; 16], 8);
    object.relocate(debug, symbol, elf::R_BPF_64_64);
    let code = object.program("tp/a/c", "g", 0);
    object.relocate(code, symbol, elf::R_BPF_64_32);
    assert!(!object.filter().expect("there").is_read);
}

#[test]
fn a_function_of_that_name_is_no_global() {
    let mut object = Builder::new();
    object.program("tp/a/b", "pid_filter", 0);
    assert_eq!(object.filter(), None);
}

#[test]
fn files_that_are_something_else() {
    let what = |bytes: &[u8]| match Object::parse(Path::new("x"), bytes.to_vec()) {
        Err(Error::NotEbpf { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(what(b""), "it is not an ELF file");
    assert_eq!(what(b"#!/bin/sh\n"), "it is not an ELF file");
    assert!(what(b"\x7fELF\x02\x01\x01 and no more").starts_with("it is a damaged ELF file"));
    let host = Writer::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    assert_eq!(what(&host.write().expect("sound")), "it is an ELF file, but not an object for eBPF");
}

#[test]
fn a_truncated_object_is_no_panic() {
    let mut object = Builder::new();
    let code = object.program("tp/a/b", "f", 0);
    let symbol = object.global("pid_filter", 0);
    object.relocate(code, symbol, elf::R_BPF_64_64);
    let bytes = object.elf.write().expect("sound");
    for length in 0..bytes.len() {
        if let Ok(object) = Object::parse(Path::new("x"), bytes[..length].to_vec()) {
            let _ = object.global("pid_filter");
            object.has_core_relocations();
        }
    }
}

#[test]
fn core_relocations_are_read_from_the_header() {
    let header = |header_length: u32, relocations_length: u32| {
        let words = [0, header_length, 0, 0, 0, 0, 0, relocations_length];
        words.into_iter().flat_map(u32::to_ne_bytes).collect::<Vec<_>>()
    };
    assert!(has_core_relocations(&header(32, 20)));
    assert!(!has_core_relocations(&header(32, 0)));
    assert!(!has_core_relocations(&header(24, 20)));
    assert!(!has_core_relocations(b""));
}
