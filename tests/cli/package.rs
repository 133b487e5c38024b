//! `cargo xtask package`, compared with what `ecc` made.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use object::{Object as _, ObjectSection as _};
use serde_json::Value;

use crate::support::{Ran, TestEnv, root, target};

const PROGRAM: &str = "tp/syscalls/sys_enter_write";

/// Packages a source, with further words, into a directory.
fn package(source: &Path, words: &[&str], output: &Path, code: i32) -> Ran {
    let [source, output] = [source, output].map(|path| path.to_str().unwrap());
    TestEnv::shared().run(&[&["package", source, "-o", output], words].concat()).exits_with(code)
}

/// The tutorial's program: ours, with the helpers of its time, which put the text of a message on the stack.
fn tutorial(variant: &str) -> String {
    let source = fs::read_to_string(root().join("ebpf/minimal.bpf.c")).unwrap();
    let source = if variant == "ecc-const" { source.replace("const volatile", "const") } else { source };
    format!("#define BPF_NO_GLOBAL_DATA\n{source}")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn unpack(package: &Value) -> Vec<u8> {
    let stream = STANDARD.decode(package["bpf_object"].as_str().unwrap()).unwrap();
    let mut object = Vec::new();
    ZlibDecoder::new(&stream[..]).read_to_end(&mut object).unwrap();
    assert_eq!(package["bpf_object_size"], object.len());
    object
}

fn instructions(object: &[u8]) -> Vec<u8> {
    object::File::parse(object).unwrap().section_by_name(PROGRAM).unwrap().data().unwrap().to_vec()
}

/// What the same clang makes of the source by itself.
fn compile(source: &Path) -> Vec<u8> {
    let object = source.with_extension("plain.o");
    // An older packager may have left its own.
    let headers = fs::read_dir(target().join("hooklab/headers")).unwrap();
    let headers = headers.map(|entry| entry.unwrap().path());
    let include = headers.max_by_key(|path| path.metadata().unwrap().modified().unwrap()).unwrap();
    let mut clang = std::process::Command::new("clang");
    clang
        .args(["-g", "-O2", "-target", "bpf", "-idirafter", "/usr/include/x86_64-linux-gnu", "-I"])
        .arg(include);
    clang.arg("-c").arg(source).arg("-o").arg(&object);
    assert!(clang.status().unwrap().success());
    fs::read(object).unwrap()
}

#[test]
fn the_tutorials_program_is_packed_as_ecc_packs_it() {
    for variant in ["ecc-const", "ecc-const-volatile"] {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("minimal.bpf.c");
        fs::write(&source, tutorial(variant)).unwrap();
        let output = directory.path().join("out");

        let said = package(&source, &[], &output, 0);

        let names = ["minimal.bpf.o", "minimal.skel.json", "package.json"];
        assert_eq!(said.stdout, names.map(|name| format!("{}\n", output.join(name).display())).concat());
        let theirs = json(&root().join("tests/packages").join(variant).join("minimal.skel.json"));
        let ours = json(&output.join("minimal.skel.json"));
        assert_eq!(ours["bpf_skel"], theirs["bpf_skel"]);
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&ours), keys(&theirs));
        let packed = json(&output.join("package.json"));
        assert_eq!(packed["meta"], ours);
        assert_eq!(keys(&packed), ["bpf_object", "bpf_object_size", "meta"]);
        let object = unpack(&packed);
        assert_eq!(object, fs::read(output.join("minimal.bpf.o")).unwrap());
        assert_eq!(instructions(&object), instructions(&compile(&source)));
    }
}

#[test]
fn every_kind_of_type_map_and_program_is_described() {
    let [first, second] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let programs = root().join("tests/cli/programs");
    let source = programs.join("everything.bpf.c");
    // The header beside the source is taken by itself.
    package(&source, &[], first.path(), 0);
    // Numbers of types are the compiler's.
    insta::assert_json_snapshot!("everything", json(&first.path().join("everything.skel.json")), {
        ".export_types[].type_id" => "[number]",
    });

    // The same bytes from another directory, at another time, with the header named.
    let copy = second.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for name in ["everything.bpf.c", "everything.h"] {
        fs::copy(programs.join(name), copy.join(name)).unwrap();
    }
    let header = copy.join("everything.h");
    package(&copy.join("everything.bpf.c"), &[header.to_str().unwrap()], second.path(), 0);
    for name in ["everything.bpf.o", "everything.skel.json", "package.json"] {
        assert_eq!(
            fs::read(first.path().join(name)).unwrap(),
            fs::read(second.path().join(name)).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn what_cannot_be_packed_is_told_and_leaves_nothing() {
    let licence = "char LICENSE[] __attribute__((section(\"license\"), used)) = \"GPL\";\n";
    let program = |section: &str| {
        format!("{licence}__attribute__((section(\"{section}\"), used)) int run(void *ctx) {{ return 0; }}\n")
    };
    for (source, reason) in [
        (
            "int broken(void) { return nothing; }\n".to_owned(),
            "error: use of undeclared identifier 'nothing'",
        ),
        (String::new(), "it has no BTF"),
        (licence.to_owned(), "there is no program in it"),
        (program("somewhere/else"), "libbpf knows no section `somewhere/else`"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wrong.bpf.c");
        fs::write(&path, &source).unwrap();
        let said = package(&path, &[], directory.path(), 1);
        assert!(said.stderr.contains(reason), "{source}: {}", said.stderr);
        assert_eq!(said.stdout, "");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "{source}: something was written");
    }
}

#[test]
fn files_that_are_not_there_are_a_wrong_command_line() {
    let stderr = TestEnv::empty().run(&["package", "no-such.bpf.c"]).exits_with(2).stderr;
    assert!(stderr.contains("there is no file no-such.bpf.c"), "{stderr}");
    let stderr = TestEnv::empty().run(&["package", "ebpf/minimal.bpf.c", "no-such.h"]).exits_with(2).stderr;
    assert!(stderr.contains("there is no file no-such.h"), "{stderr}");
}
