//! A short run of what `fuzz/` does at length: its corpus as it is, and changed in ways that are the same each time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::PathBuf;

use hooklab_protocol::{Report, receive, send};

/// How often each file of the corpus is changed.
const ROUNDS: usize = 500;

/// Numbers that look random and are the same on every run (xorshift64, by Marsaglia).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).unwrap()
    }

    /// Changes a byte, takes a piece out, or doubles one; mostly past the first length, so that a message is left.
    fn change(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let (at, length) = (self.next() % bytes.len(), self.next() % 16);
        let end = (at + length).min(bytes.len());
        match self.next() % 4 {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.splice(at..at, bytes[at..end].to_vec()).for_each(drop),
            2 => bytes[at] = [0, 0xff, b'"', b'{', b'9'][self.next() % 5],
            _ => bytes[at] ^= 1 << (self.next() % 8),
        }
    }
}

/// Reads all there is; says how many reports that were.
fn read(mut stream: &[u8]) -> usize {
    let mut reports = 0;
    while let Ok(report) = receive::<Report>(&mut stream) {
        let mut again = Vec::new();
        send(&mut again, &report).unwrap();
        assert_eq!(receive::<Report>(&mut again.as_slice()).unwrap(), report);
        reports += 1;
    }
    reports
}

#[test]
fn streams_that_are_changed_at_random() {
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let corpus = package.join("fuzz/corpus/report");
    let mut paths: Vec<PathBuf> = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut sound, mut broken) = (0, 0);
    for path in &paths {
        let original = fs::read(path).unwrap();
        let meant = path.file_name().unwrap().to_string_lossy().starts_with("sound");
        assert_eq!(read(&original) > 0, meant, "{}", path.display());
        for _ in 0..ROUNDS {
            let mut stream = original.clone();
            numbers.change(&mut stream);
            *(if read(&stream) > 0 { &mut sound } else { &mut broken }) += 1;
        }
    }
    assert!(sound > 100 && broken > 100, "{sound} sound, {broken} broken: too much alike to tell anything");
}
