//! Globals that no instruction reads.

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

use crate::object::loaded_addresses;

/// The most names that are told.
const MOST: usize = 64;

/// The global variables of an object whose address no instruction loads: setting one would have no effect. Most often the
/// compiler has put the value of a `const` variable into the instructions.
pub(super) fn unread(bytes: &[u8]) -> Vec<String> {
    let Ok(elf) = object::File::parse(bytes) else { return Vec::new() };
    let mut unread = Vec::new();
    for section in elf.sections() {
        let name = section.name().unwrap_or_default();
        let is_data = [".rodata", ".data", ".bss"].iter().any(|prefix| name.starts_with(prefix));
        // String literals have no names of their own.
        if !is_data || name.contains(".str") {
            continue;
        }
        let read: Vec<u64> = loaded_addresses(&elf, section.index()).collect();
        for symbol in elf.symbols() {
            let here = symbol.section_index() == Some(section.index()) && symbol.kind() == SymbolKind::Data;
            let (start, size) = (symbol.address(), symbol.size());
            if here && !read.iter().any(|at| *at >= start && at - start < size.max(1)) {
                unread.extend(symbol.name().map(str::to_owned));
            }
        }
    }
    unread.sort();
    unread.truncate(MOST);
    unread
}
