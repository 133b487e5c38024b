//! Decodes a package, and inspects the object in it as the loaders do. Nothing may panic, or take memory without end.

#![no_main]

use std::path::Path;

use hooklab_loader::{Object, Package, package::LARGEST_OBJECT};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(package) = Package::decode(text) else { return };
    assert!(package.object.len() as u64 <= LARGEST_OBJECT);
    if let Ok(object) = Object::parse(Path::new("package.json"), package.object) {
        let _ = object.global("pid_filter");
        let _ = object.has_core_relocations();
    }
});
