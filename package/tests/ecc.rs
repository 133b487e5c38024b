//! Our descriptions against those that `ecc` itself made.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use hooklab_package::{describe, read, write};
use object::{Object as _, ObjectSection as _};
use serde_json::Value;

const VARIANTS: [&str; 2] = ["ecc-const", "ecc-const-volatile"];
const PROGRAM: &str = "tp/syscalls/sys_enter_write";

/// The package in the checkout that is tested, which may be another than the one that this was compiled in.
fn manifest_directory() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap().into()
}

fn fixture(variant: &str, file: &str) -> PathBuf {
    manifest_directory().join("../tests/packages").join(variant).join(file)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The object in a package.
fn unpack(package: &Value) -> Vec<u8> {
    let stream = STANDARD.decode(package["bpf_object"].as_str().unwrap()).unwrap();
    let mut object = Vec::new();
    ZlibDecoder::new(&stream[..]).read_to_end(&mut object).unwrap();
    assert_eq!(package["bpf_object_size"], object.len());
    object
}

/// What a section of an object holds.
fn section(object: &[u8], name: &str) -> Vec<u8> {
    object::File::parse(object).unwrap().section_by_name(name).unwrap().data().unwrap().to_vec()
}

#[test]
fn eccs_own_objects_are_described_as_ecc_does() {
    for variant in VARIANTS {
        let object = unpack(&json(&fixture(variant, "package.json")));
        let meta = describe(&object, "minimal", None).unwrap();
        assert_eq!(serde_json::to_value(meta).unwrap(), json(&fixture(variant, "minimal.skel.json")));
    }
}

#[test]
fn a_package_of_eccs_object_has_the_same_description_and_instructions() {
    for variant in VARIANTS {
        let package = json(&fixture(variant, "package.json"));
        let directory = tempfile::tempdir().unwrap();
        let theirs = directory.path().join("their.o");
        fs::write(&theirs, unpack(&package)).unwrap();

        let object = read(&theirs).unwrap();
        let paths = write(directory.path(), "minimal", &object, &describe(&object, "minimal", None).unwrap())
            .unwrap();

        let ours = json(&paths[2]);
        assert_eq!(ours["meta"], package["meta"]);
        assert_eq!(unpack(&ours), object);
        assert_eq!(section(&object, PROGRAM), section(&unpack(&package), PROGRAM));
        assert_eq!(fs::read(&paths[0]).unwrap(), object);
        assert_eq!(json(&paths[1]), ours["meta"]);
    }
}

#[test]
fn what_is_no_object_for_ebpf_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.o");
    assert!(read(&file).unwrap_err().to_string().starts_with("failed to read "));
    for bytes in [&b""[..], b"int main;\n"] {
        fs::write(&file, bytes).unwrap();
        assert_eq!(read(&file).unwrap_err().to_string(), "failed to read the object");
    }
    fs::copy(std::env::var_os("CARGO_BIN_EXE_hooklab-package").unwrap(), &file).unwrap();
    assert!(read(&file).unwrap_err().to_string().contains("not for eBPF"));
}

#[test]
fn an_object_without_types_is_named() {
    let package = json(&fixture("ecc-const", "package.json"));
    let mut object = unpack(&package);
    // Nobody finds a section under another name.
    let at = object.windows(9).position(|name| name == b".rel.BTF\0").unwrap() + 4;
    object[at..at + 4].copy_from_slice(b".XXX");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), object).unwrap();
    assert!(read(file.path()).unwrap_err().to_string().contains("it has no BTF"));
}

#[test]
fn what_cannot_be_written_leaves_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let object = unpack(&json(&fixture("ecc-const", "package.json")));
    let meta = describe(&object, "minimal", None).unwrap();
    fs::write(directory.path().join("file"), "x").unwrap();
    assert!(write(&directory.path().join("file"), "minimal", &object, &meta).is_err());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}
