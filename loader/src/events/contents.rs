//! The contents of hash and array maps.

use std::cell::RefCell;
use std::rc::Rc;

use hooklab_types::loader::{MapContents, MapEntry};
use libbpf_rs::btf::TypeId;
use libbpf_rs::btf::types::{Ptr, Struct};
use libbpf_rs::{MapCore as _, MapFlags, MapHandle, MapType};

use super::types::{Types, hexadecimal};

/// How many entries of a map are shown.
const SHOWN: usize = 64;

/// Reads a map; `None` if it is of another kind.
pub(super) fn of(name: &str, map: &MapHandle, types: Option<&Rc<RefCell<Types>>>) -> Option<MapContents> {
    let is_array = matches!(map.map_type(), MapType::Array | MapType::PercpuArray);
    let is_hash = matches!(
        map.map_type(),
        MapType::Hash | MapType::PercpuHash | MapType::LruHash | MapType::LruPercpuHash
    );
    // Sections of globals are arrays, too, with names as sections have them.
    if !(is_array || is_hash) || name.contains('.') {
        return None;
    }
    let definition = types.and_then(|types| definition(&types.borrow(), name));
    let (key_type, value_type) = definition.unwrap_or((None, None));
    let describe = |kind: Option<TypeId>, bytes: &[u8]| {
        let described = kind.zip(types).and_then(|(kind, types)| types.borrow_mut().describe(kind, bytes));
        described.unwrap_or_else(|| hexadecimal(bytes))
    };
    let mut entries = Vec::new();
    let mut keys = map.keys();
    for key in keys.by_ref().take(SHOWN) {
        let Some(value) = value(map, &key) else { continue };
        // An array has every key from the beginning: what is zero was not set.
        if is_array && value.iter().flatten().all(|byte| *byte == 0) {
            continue;
        }
        let values: Vec<_> = value.iter().map(|bytes| describe(value_type, bytes)).collect();
        let value =
            if map.map_type().is_percpu() { format!("[{}]", values.join(",")) } else { values.concat() };
        entries.push(MapEntry { key: describe(key_type, &key), value });
    }
    Some(MapContents { map: name.to_owned(), entries, truncated: keys.next().is_some() })
}

/// The value of a key: one, or one for each CPU.
fn value(map: &MapHandle, key: &[u8]) -> Option<Vec<Vec<u8>>> {
    if map.map_type().is_percpu() {
        return map.lookup_percpu(key, MapFlags::ANY).ok()?;
    }
    Some(vec![map.lookup(key, MapFlags::ANY).ok()??])
}

/// The types of a map's keys and values: a map is a variable of a struct with pointers to them.
fn definition(types: &Types, name: &str) -> Option<(Option<TypeId>, Option<TypeId>)> {
    let definition = Struct::try_from(types.variable(name)?).ok()?;
    let member = |wanted: &str| {
        let member = definition.iter().find(|member| member.name.is_some_and(|of| of == wanted))?;
        let pointer: Ptr<'_> = types.btf().type_by_id(member.ty)?;
        Some(pointer.next_type()?.type_id())
    };
    Some((member("key"), member("value")))
}
