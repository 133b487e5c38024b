//! A short, deterministic version of the fuzz target in `fuzz/`: reads its corpus, and pseudo-random mutations of it.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::fs;
use std::path::PathBuf;

use hooklab_protocol::{Report, receive, send};

/// Number of mutations of each file in the corpus.
const ROUNDS: usize = 500;

/// A pseudo-random number generator with a fixed seed (xorshift64, by Marsaglia).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).unwrap()
    }

    /// Changes a byte, removes a range, or duplicates one.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
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

/// Reads all reports in a stream, and returns their number.
fn count(mut stream: &[u8]) -> usize {
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
fn mutated_streams_are_read_without_panic() {
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let corpus = package.join("fuzz/corpus/report");
    let mut paths: Vec<PathBuf> = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut valid, mut malformed) = (0, 0);
    for path in &paths {
        let original = fs::read(path).unwrap();
        let is_valid = path.file_name().unwrap().to_string_lossy().starts_with("valid");
        assert_eq!(count(&original) > 0, is_valid, "{}", path.display());
        for _ in 0..ROUNDS {
            let mut stream = original.clone();
            numbers.mutate(&mut stream);
            *(if count(&stream) > 0 { &mut valid } else { &mut malformed }) += 1;
        }
    }
    assert!(
        valid > 100 && malformed > 100,
        "{valid} valid and {malformed} malformed: the mutations are too uniform"
    );
}
