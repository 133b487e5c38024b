//! The structs of an event header, which a program sends to its reader.

use libbpf_rs::OpenObject;
use libbpf_rs::btf::types::Struct;
use libbpf_rs::btf::{BtfKind, HasSize as _};
use serde::Serialize;

use crate::c_type::Printer;
use crate::{Error, skeleton};

/// A struct, with the layout that a reader needs to decode it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportType {
    /// Its members, in order.
    pub members: Vec<Member>,
    /// Its name, without `struct`.
    pub name: String,
    /// Its size in bytes.
    pub size: usize,
    /// Its number in the object's BTF.
    pub type_id: u32,
}

/// A member of a struct.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its type in C; `composite` for a struct or union and `enum` for an enumeration.
    #[serde(rename = "type")]
    pub c_type: String,
}

/// Describes the structs of these names, in the order of the object's BTF.
pub(crate) fn read(object: &OpenObject, names: &[String]) -> Result<Vec<ExportType>, Error> {
    let btf = skeleton::btf(object)?;
    let mut printer = Printer::new(&btf).map_err(|source| Error::Type { name: "a struct".into(), source })?;
    let mut types = Vec::new();
    for found in btf.type_by_kind::<Struct<'_>>() {
        let Some(name) = found.name().map(|name| name.to_string_lossy().into_owned()) else { continue };
        if !names.contains(&name) {
            continue;
        }
        let mut members = Vec::new();
        for member in found.iter() {
            let name = member.name.unwrap_or_default().to_string_lossy().into_owned();
            let target = btf.type_by_id::<libbpf_rs::btf::BtfType<'_>>(member.ty);
            let c_type = match target.map(|target| target.kind()) {
                Some(BtfKind::Struct | BtfKind::Union) => "composite".to_owned(),
                Some(BtfKind::Enum) => "enum".to_owned(),
                _ => {
                    let printed = printer.print(member.ty, false);
                    printed.map_err(|source| Error::Type { name: name.clone(), source })?
                }
            };
            members.push(Member { name, c_type });
        }
        types.push(ExportType { members, name, size: found.size(), type_id: found.type_id().into() });
    }
    match names.iter().find(|name| !types.iter().any(|found| found.name == **name)) {
        Some(missing) => Err(Error::NoStruct(missing.clone())),
        None => Ok(types),
    }
}
