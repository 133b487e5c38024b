//! The same as `package`, past the JSON and the base64: the input is the compressed object, or the object itself.
//! The first byte says which; the next three are the size that the package states.

#![no_main]

use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use hooklab_loader::{Object, Package};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [kind, a, b, c, bytes @ ..] = input else { return };
    let (stream, size) = if kind % 2 == 0 {
        (bytes.to_vec(), u32::from_le_bytes([*a, *b, *c, 0]))
    } else {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(bytes).expect("memory does not fail");
        (encoder.finish().expect("memory does not fail"), bytes.len() as u32)
    };
    let object = STANDARD.encode(stream);
    let text = format!(r#"{{"bpf_object":"{object}","bpf_object_size":{size},"meta":{{}}}}"#);
    let Ok(package) = Package::decode(text.as_bytes()) else {
        assert!(kind % 2 == 0, "a sound package is unpacked");
        return;
    };
    assert_eq!(package.object.len(), size as usize);
    if let Ok(object) = Object::parse(Path::new("package.json"), package.object) {
        let _ = object.global("pid_filter");
        let _ = object.has_core_relocations();
    }
});
