//! The description of an object for loaders: its data sections, maps and programs.
//!
//! Keys are in alphabetical order, as in the files of `ecc`.

use std::ffi::OsStr;

use libbpf_rs::btf::types::{DataSec, Linkage, Var};
use libbpf_rs::btf::{Btf, BtfType, ReferencesType as _};
use libbpf_rs::{AsRawLibbpf as _, OpenMap, OpenObject, ProgramType, libbpf_sys as sys};
use serde::Serialize;

use crate::Error;
use crate::c_type::Printer;

/// Sections whose maps have an identifier of their own.
const DATA: [&str; 4] = [".data", ".rodata", ".bss", ".kconfig"];
/// The maximum alignment that bpftool assumes for a variable of any type: that of a 32-bit machine.
const LARGEST_ALIGNMENT: u32 = 4;

/// The description of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skeleton {
    /// The sections of global variables that loaders can write to.
    pub data_sections: Vec<DataSection>,
    /// All maps, those of the data sections among them.
    pub maps: Vec<Map>,
    /// The object's name, as in `minimal_bpf`.
    pub obj_name: String,
    /// All programs.
    pub progs: Vec<Program>,
}

/// A section of global variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DataSection {
    /// The section, as in `.rodata`.
    pub name: String,
    /// Its variables that are not static, in order.
    pub variables: Vec<Variable>,
}

/// A global variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// The bytes of padding before it. `ecc` intends an entry `__padding` of this size, but writes the number into the
    /// variable that follows.
    #[serde(rename = "size", skip_serializing_if = "Option::is_none")]
    pub padding: Option<u32>,
    /// Its type in C, without `const` and `volatile`.
    #[serde(rename = "type")]
    pub c_type: String,
}

/// A map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Map {
    /// Its name as a C identifier.
    pub ident: String,
    /// Whether it can be mapped into memory, as that of a data section with variables can; omitted if not.
    #[serde(rename = "mmaped", skip_serializing_if = "std::ops::Not::not")]
    pub mapped: bool,
    /// Its name in libbpf.
    pub name: String,
}

/// A program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Program {
    /// Its attach point: the name of its section.
    pub attach: String,
    /// Always true: attaching creates a link.
    pub link: bool,
    /// Its function.
    pub name: String,
}

/// The object's name for `NAME.bpf.c`, as bpftool derives it from `NAME.bpf.o`.
pub(crate) fn object_name(name: &str) -> String {
    identifier(&format!("{name}.bpf"))
}

/// Describes an object that libbpf has opened.
pub(crate) fn read(object: &OpenObject, obj_name: String) -> Result<Skeleton, Error> {
    let btf = btf(object)?;
    let progs = object.progs().map(|program| {
        let text = |name: &OsStr| name.to_string_lossy().into_owned();
        let (name, attach) = (text(program.name()), text(program.section()));
        if program.prog_type() == ProgramType::Unspec {
            return Err(Error::UnknownSection { program: name, section: attach });
        }
        Ok(Program { attach, link: true, name })
    });
    let progs = progs.collect::<Result<Vec<_>, _>>()?;
    if progs.is_empty() {
        return Err(Error::NoProgram);
    }
    let maps: Vec<Map> = object.maps().filter_map(|map| describe_map(&map)).collect();
    let data_sections = data_sections(&btf, &maps)?;
    Ok(Skeleton { data_sections, maps, obj_name, progs })
}

/// The object's types.
pub(crate) fn btf(object: &OpenObject) -> Result<Btf<'_>, Error> {
    // SAFETY: The object lives as long as the reference.
    let raw = unsafe { object.as_libbpf_object().as_ref() };
    Btf::from_bpf_object(raw).map_err(Error::Open)?.ok_or(Error::NoBtf)
}

/// Describes a map; `None` for internal maps of libbpf that belong to no data section.
fn describe_map(map: &OpenMap<'_>) -> Option<Map> {
    let name = map.name().to_string_lossy().into_owned();
    let raw = map.as_libbpf_object().as_ptr();
    // SAFETY: The map belongs to the object, which is still open.
    let internal = unsafe { sys::bpf_map__is_internal(raw) };
    // SAFETY: The same.
    let flags = unsafe { sys::bpf_map__map_flags(raw) };
    let ident = if internal {
        let start = DATA.iter().find_map(|section| name.find(section))?;
        identifier(&name[start + 1..])
    } else {
        name.clone()
    };
    Some(Map { ident, mapped: internal && flags & sys::BPF_F_MMAPABLE != 0, name })
}

/// The sections of the maps that can be mapped, in the maps' order.
fn data_sections(btf: &Btf<'_>, maps: &[Map]) -> Result<Vec<DataSection>, Error> {
    let sections: Vec<(String, DataSec<'_>)> = btf
        .type_by_kind::<DataSec<'_>>()
        .filter_map(|section| Some((name_of(section.name())?, section)))
        .collect();
    let of_map = |map: &Map| {
        sections.iter().find(|(name, _)| {
            DATA.iter().any(|prefix| name.starts_with(prefix)) && identifier(&name[1..]) == map.ident
        })
    };
    maps.iter()
        .filter(|map| map.mapped)
        .filter_map(of_map)
        .map(|(name, section)| Ok(DataSection { name: name.clone(), variables: variables(btf, section)? }))
        .collect()
}

fn variables(btf: &Btf<'_>, section: &DataSec<'_>) -> Result<Vec<Variable>, Error> {
    let mut printer = Printer::new(btf).map_err(|source| Error::Type { name: "a section".into(), source })?;
    let (mut variables, mut end) = (Vec::new(), 0);
    for info in section.iter() {
        let Some(variable) = btf.type_by_id::<Var<'_>>(info.ty) else { continue };
        if variable.linkage() == Linkage::Static {
            continue;
        }
        let name = name_of(variable.name()).unwrap_or_default();
        let target = variable.referenced_type();
        let aligned = u32::next_multiple_of(end, alignment(&target));
        let padding = (aligned != info.offset).then(|| info.offset.wrapping_sub(end));
        let c_type = printer.print(target.type_id(), true);
        let c_type = c_type.map_err(|source| Error::Type { name: name.clone(), source })?;
        variables.push(Variable { name, padding, c_type });
        end = info.offset + info.size as u32;
    }
    Ok(variables)
}

fn alignment(target: &BtfType<'_>) -> u32 {
    let alignment = target.alignment().ok().and_then(|alignment| u32::try_from(alignment.get()).ok());
    alignment.map_or(1, |alignment| alignment.min(LARGEST_ALIGNMENT))
}

fn name_of(name: Option<&OsStr>) -> Option<String> {
    Some(name?.to_string_lossy().into_owned())
}

/// Replaces characters that a C identifier cannot have by underscores.
fn identifier(name: &str) -> String {
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte) } else { '_' };
    name.bytes().map(plain).collect()
}
