//! Entrances for `loader/fuzz`, to what the loader reads but does not export.

use std::cell::RefCell;
use std::rc::Rc;

use crate::events::fuzzing::{Decoder, Framing, Known, Types, parse, to_btf};

/// Decodes records as types that nobody vouches for: those of the program's variables, and those of BTF.
pub fn records(btf: &[u8], records: &[&[u8]]) {
    for is_own in [true, false] {
        let types = parse(btf).and_then(Types::of).map(|types| Rc::new(RefCell::new(types)));
        let known = match is_own {
            true => Known { btf: None, variables: types },
            false => Known { btf: types, variables: None },
        };
        for framing in [Framing::Exact, Framing::Padded] {
            let mut decoder = Decoder::new("map".to_owned(), framing, known.clone(), None);
            for record in records {
                let decoded = decoder.decode(record);
                assert!(!decoded.value.contains(char::is_control), "a value that is not one line");
            }
        }
    }
}

/// Describes every struct's value, whatever its size.
pub fn structs(btf: &[u8], value: &[u8]) {
    let Some(mut types) = parse(btf).and_then(Types::of) else { return };
    let all: Vec<_> = types.structs().collect();
    for (id, ..) in all {
        let _ = types.describe(id, value);
    }
}

/// Makes BTF of an object's debugging information, and decodes by it.
pub fn debugging_information(object: &[u8], value: &[u8]) {
    if let Some(btf) = to_btf(object) {
        structs(&btf, value);
    }
}
