//! The structs that a program's own variables have, from its debugging information.
//!
//! Compilers put a type into BTF only if a global, a map or a relocation needs it. What a program sends is usually known to a
//! local variable alone, and then only DWARF describes it. Here such structs become BTF, which libbpf prints. Structs of the
//! kernel are left out: a program has variables of these, too, and does not send them.

use std::collections::{HashMap, HashSet};

use gimli::{AttributeValue, DwTag, EndianSlice, NativeEndian, Unit, UnitOffset, constants as dw};
use object::{Object as _, ObjectSection as _};

use super::btf_writer::{Member, Writer};

type Reader<'a> = EndianSlice<'a, NativeEndian>;

/// How deeply types may be nested.
const DEEPEST: usize = 32;
/// The most members that are read of a struct, and the most enumerators.
const MOST_MEMBERS: usize = 4096;
/// The most variables that are looked at.
const MOST_VARIABLES: usize = 1 << 16;

/// Describes the structs of an object's variables as BTF; `None` if there is no debugging information, or none of use.
pub(crate) fn to_btf(object: &[u8]) -> Option<Vec<u8>> {
    let elf = object::File::parse(object).ok()?;
    // The object is not linked: its relocations add the addresses of sections, which are all zero.
    let load = |id: gimli::SectionId| -> Result<Reader<'_>, gimli::Error> {
        let data = elf.section_by_name(id.name()).and_then(|section| section.data().ok()).unwrap_or_default();
        Ok(EndianSlice::new(data, NativeEndian))
    };
    let dwarf = gimli::Dwarf::load(load).ok()?;
    let mut writer = Writer::default();
    let mut units = dwarf.units();
    let mut any = false;
    while let Ok(Some(header)) = units.next() {
        let Ok(unit) = dwarf.unit(header) else { continue };
        let mut converter = Converter {
            dwarf: &dwarf,
            unit: &unit,
            writer: &mut writer,
            done: HashMap::new(),
            names: HashSet::new(),
        };
        any |= converter.convert_variables().is_some_and(|found| found);
    }
    any.then(|| writer.finish()).flatten()
}

struct Converter<'a, 'w> {
    dwarf: &'a gimli::Dwarf<Reader<'a>>,
    unit: &'a Unit<Reader<'a>>,
    writer: &'w mut Writer,
    /// The number in BTF of each type; `None` while it is being converted.
    done: HashMap<UnitOffset, Option<u32>>,
    /// The names of structs that have been converted: a name means one of them.
    names: HashSet<String>,
}

impl Converter<'_, '_> {
    /// Converts the structs that variables have or point to, and says whether there is any.
    fn convert_variables(&mut self) -> Option<bool> {
        let mut structs = Vec::new();
        let mut entries = self.unit.entries();
        let mut seen = 0;
        while let Some(entry) = entries.next_dfs().ok()? {
            let is_variable = matches!(entry.tag(), dw::DW_TAG_variable | dw::DW_TAG_formal_parameter);
            if !is_variable || seen > MOST_VARIABLES {
                continue;
            }
            seen += 1;
            let of = reference(entry.attr_value(dw::DW_AT_type));
            structs.extend(of.and_then(|of| self.pointed_struct(of)));
        }
        let mut any = false;
        for at in structs {
            if !self.is_kernels(at) {
                any |= self.convert(at, 0).is_some();
            }
        }
        Some(any)
    }

    /// The struct that a variable's type is, or points to.
    fn pointed_struct(&self, mut at: UnitOffset) -> Option<UnitOffset> {
        for _ in 0..DEEPEST {
            let entry = self.unit.entry(at).ok()?;
            match entry.tag() {
                dw::DW_TAG_structure_type => return Some(at),
                dw::DW_TAG_pointer_type | dw::DW_TAG_typedef => {}
                tag if is_qualifier(tag) => {}
                _ => return None,
            }
            at = reference(entry.attr_value(dw::DW_AT_type))?;
        }
        None
    }

    /// Whether a struct comes from a header of the kernel.
    fn is_kernels(&self, at: UnitOffset) -> bool {
        let path = self.path(at).unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        name.starts_with("vmlinux")
            || ["linux/", "bpf/", "asm/", "asm-generic/"].iter().any(|part| path.contains(part))
    }

    /// The path of the file that declares it, as the compiler was given it.
    fn path(&self, at: UnitOffset) -> Option<String> {
        let entry = self.unit.entry(at).ok()?;
        let AttributeValue::FileIndex(index) = entry.attr_value(dw::DW_AT_decl_file)? else { return None };
        let header = self.unit.line_program.as_ref()?.header();
        let file = header.file(index)?;
        let text = |value| {
            let text = self.dwarf.attr_string(self.unit, value).ok()?;
            Some(text.to_string_lossy().into_owned())
        };
        let directory = file.directory(header).and_then(text).unwrap_or_default();
        Some(format!("{directory}/{}", text(file.path_name())?))
    }

    /// Converts a type, and gives its number in BTF.
    fn convert(&mut self, at: UnitOffset, depth: usize) -> Option<u32> {
        if let Some(done) = self.done.get(&at) {
            return *done;
        }
        if depth > DEEPEST {
            return None;
        }
        self.done.insert(at, None);
        let converted = self.convert_new(at, depth + 1);
        self.done.insert(at, converted);
        converted
    }

    fn convert_new(&mut self, at: UnitOffset, depth: usize) -> Option<u32> {
        let unit = self.unit;
        let entry = unit.entry(at).ok()?;
        let size = || u32::try_from(entry.attr_value(dw::DW_AT_byte_size)?.udata_value()?).ok();
        let name = entry.attr_value(dw::DW_AT_name).and_then(|name| self.dwarf.attr_string(unit, name).ok());
        let name = name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let target = reference(entry.attr_value(dw::DW_AT_type));
        match entry.tag() {
            dw::DW_TAG_base_type => {
                let AttributeValue::Encoding(encoding) = entry.attr_value(dw::DW_AT_encoding)? else {
                    return None;
                };
                base_type(self.writer, &name, size()?, encoding)
            }
            // What they point to is in the kernel, and a pointer is all that is sent.
            dw::DW_TAG_pointer_type => Some(self.writer.pointer()),
            dw::DW_TAG_typedef => self.convert(target?, depth),
            tag if is_qualifier(tag) => self.convert(target?, depth),
            dw::DW_TAG_structure_type if !name.is_empty() && !self.names.insert(name.clone()) => None,
            dw::DW_TAG_structure_type => {
                let members = self.members(at, depth)?;
                Some(self.writer.composite(false, &name, size()?, &members))
            }
            dw::DW_TAG_union_type => {
                let members = self.members(at, depth)?;
                Some(self.writer.composite(true, &name, size()?, &members))
            }
            dw::DW_TAG_array_type => {
                let mut of = self.convert(target?, depth)?;
                for count in self.dimensions(at)?.into_iter().rev() {
                    of = self.writer.array(of, count);
                }
                Some(of)
            }
            dw::DW_TAG_enumeration_type => {
                let values = self.enumerators(at)?;
                Some(self.writer.enumeration(&name, size()?, &values))
            }
            _ => None,
        }
    }

    fn members(&mut self, at: UnitOffset, depth: usize) -> Option<Vec<Member>> {
        let unit = self.unit;
        let mut tree = unit.entries_tree(Some(at)).ok()?;
        let mut children = tree.root().ok()?.children();
        let mut members = Vec::new();
        while let Some(child) = children.next().ok()? {
            let entry = child.entry();
            if entry.tag() != dw::DW_TAG_member || members.len() == MOST_MEMBERS {
                continue;
            }
            let number = |name| entry.attr_value(name).and_then(|value| value.udata_value());
            let bits = number(dw::DW_AT_bit_size);
            let bytes_before = number(dw::DW_AT_data_member_location).unwrap_or(0);
            let bits_before =
                number(dw::DW_AT_data_bit_offset).unwrap_or_else(|| bytes_before.saturating_mul(8));
            let name =
                entry.attr_value(dw::DW_AT_name).and_then(|name| self.dwarf.attr_string(unit, name).ok());
            let of = reference(entry.attr_value(dw::DW_AT_type))?;
            members.push(Member {
                name: name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
                of: self.convert(of, depth)?,
                bit_offset: u32::try_from(bits_before).ok()?,
                bits: bits.map(u8::try_from).transpose().ok()?,
            });
        }
        Some(members)
    }

    /// The numbers of elements of an array, outermost first.
    fn dimensions(&self, at: UnitOffset) -> Option<Vec<u32>> {
        let mut tree = self.unit.entries_tree(Some(at)).ok()?;
        let mut children = tree.root().ok()?.children();
        let mut counts = Vec::new();
        while let Some(child) = children.next().ok()? {
            let entry = child.entry();
            if entry.tag() == dw::DW_TAG_subrange_type && counts.len() < DEEPEST {
                // A flexible array at the end of a struct has no count.
                let count =
                    entry.attr_value(dw::DW_AT_count).and_then(|count| count.udata_value()).unwrap_or(0);
                counts.push(u32::try_from(count).ok()?);
            }
        }
        Some(counts)
    }

    fn enumerators(&self, at: UnitOffset) -> Option<Vec<(String, i64)>> {
        let mut tree = self.unit.entries_tree(Some(at)).ok()?;
        let mut children = tree.root().ok()?.children();
        let mut values = Vec::new();
        while let Some(child) = children.next().ok()? {
            let entry = child.entry();
            if entry.tag() != dw::DW_TAG_enumerator || values.len() == MOST_MEMBERS {
                continue;
            }
            let name = self.dwarf.attr_string(self.unit, entry.attr_value(dw::DW_AT_name)?).ok()?;
            let value = entry.attr_value(dw::DW_AT_const_value)?;
            let value = value.sdata_value().or_else(|| value.udata_value().map(u64::cast_signed))?;
            values.push((name.to_string_lossy().into_owned(), value));
        }
        Some(values)
    }
}

fn base_type(writer: &mut Writer, name: &str, size: u32, encoding: gimli::DwAte) -> Option<u32> {
    let (signed, boolean) = match encoding {
        dw::DW_ATE_signed | dw::DW_ATE_signed_char => (true, false),
        dw::DW_ATE_unsigned | dw::DW_ATE_unsigned_char => (false, false),
        dw::DW_ATE_boolean => (false, true),
        _ => return None,
    };
    matches!(size, 1 | 2 | 4 | 8 | 16).then(|| writer.integer(name, size, signed, boolean))
}

fn is_qualifier(tag: DwTag) -> bool {
    matches!(
        tag,
        dw::DW_TAG_const_type | dw::DW_TAG_volatile_type | dw::DW_TAG_restrict_type | dw::DW_TAG_atomic_type
    )
}

/// The entry of the same unit that an attribute refers to.
fn reference(value: Option<AttributeValue<Reader<'_>>>) -> Option<UnitOffset> {
    match value? {
        AttributeValue::UnitRef(at) => Some(at),
        _ => None,
    }
}
