//! Values of `--set` for the globals of an object. Up to the first line feed it is the value; the object follows.

#![no_main]

use std::path::Path;

use hooklab_loader::{Assignment, Object, globals};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(at) = input.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(value) = std::str::from_utf8(&input[..at]) else { return };
    let Ok(object) = Object::parse(Path::new("x.bpf.o"), input[at + 1..].to_vec()) else { return };
    for name in object.globals().into_iter().take(8) {
        let assignment = Assignment { name, value: value.to_owned() };
        if let Ok(set) = globals::value(&object, &assignment) {
            assert_eq!(set.bytes.len() as u64, set.global.size);
        }
    }
});
