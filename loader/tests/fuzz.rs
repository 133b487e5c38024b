//! A short, reproducible version of `fuzz/`: its corpus, unchanged and with pseudo-random changes.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hooklab_loader::package::LARGEST_OBJECT;
use hooklab_loader::{Object, Package};

/// How often each file of the corpus is changed.
const ROUNDS: usize = 300;

/// Pseudo-random numbers, the same on every run (xorshift64, by Marsaglia).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).expect("63 bits fit")
    }

    /// Changes a few bytes, takes a piece out, or doubles one.
    fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.next() % 4 {
            if bytes.is_empty() {
                return;
            }
            let (at, length) = (self.next() % bytes.len(), self.next() % 32);
            let end = (at + length).min(bytes.len());
            match self.next() % 4 {
                0 => drop(bytes.drain(at..end)),
                1 => bytes.splice(at..at, bytes[at..end].to_vec()).for_each(drop),
                2 => bytes[at] = [0, 0xff, b'"', b'{', b'9'][self.next() % 5],
                _ => bytes[at] ^= 1 << (self.next() % 8),
            }
        }
    }
}

/// Handles a package as the loaders do before they involve the kernel; nothing may panic.
fn take(text: &[u8]) -> bool {
    let Ok(package) = Package::decode(text) else { return false };
    assert!(package.object.len() as u64 <= LARGEST_OBJECT);
    inspect(package.object);
    true
}

fn inspect(object: Vec<u8>) {
    if let Ok(object) = Object::parse(Path::new("package.json"), object) {
        let _ = object.global("pid_filter");
        let _ = object.has_core_relocations();
    }
}

/// A package with this stream as its object.
fn package(stream: &[u8], size: usize) -> Vec<u8> {
    let object = STANDARD.encode(stream);
    format!(r#"{{"bpf_object":"{object}","bpf_object_size":{size},"meta":{{}}}}"#).into_bytes()
}

/// The corpus of a target, by name.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let corpus = package.join("fuzz/corpus").join(target);
    let mut paths: Vec<PathBuf> = fs::read_dir(corpus)
        .expect("it is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(&path).expect("it can be read"))).collect()
}

#[test]
fn packages_that_are_changed_at_random() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut sound = 0;
    for (path, original) in corpus("package") {
        let unpacked = take(&original);
        let meant = ["ecc", "elf", "sound", "stored", "escapes"];
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        assert_eq!(unpacked, meant.iter().any(|prefix| name.starts_with(prefix)), "{name}");
        for _ in 0..ROUNDS {
            let mut text = original.clone();
            numbers.change(&mut text);
            sound += usize::from(take(&text));
        }
    }
    assert!(sound > 0, "all changes were caught, so none reached the object");
}

#[test]
fn streams_and_objects_that_are_changed_at_random() {
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    for (path, original) in corpus("stream") {
        let [kind, a, b, c, bytes @ ..] = &original[..] else { panic!("{} is too short", path.display()) };
        let size = usize::from(*a) + (usize::from(*b) << 8) + (usize::from(*c) << 16);
        for _ in 0..ROUNDS {
            let mut bytes = bytes.to_vec();
            numbers.change(&mut bytes);
            if kind % 2 == 0 {
                let _ = take(&package(&bytes, size));
            } else {
                inspect(bytes);
            }
        }
    }
}
