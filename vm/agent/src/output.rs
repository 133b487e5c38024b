//! The output of a test, limited in length: of a longer output, the beginning and the end are kept.

use std::collections::VecDeque;

/// A buffer for an output, which keeps at most `2 * half` bytes.
pub(crate) struct Output {
    half: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    omitted: usize,
}

impl Output {
    /// Creates a buffer that keeps at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { half: limit / 2, head: Vec::new(), tail: VecDeque::new(), omitted: 0 }
    }

    /// Appends `bytes`.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        let free = self.half - self.head.len();
        let (first, rest) = bytes.split_at(free.min(bytes.len()));
        self.head.extend_from_slice(first);
        bytes = rest;
        self.tail.extend(bytes);
        let surplus = self.tail.len().saturating_sub(self.half);
        self.tail.drain(..surplus);
        self.omitted += surplus;
    }

    /// The output as text, with invalid UTF-8 replaced.
    pub(crate) fn into_text(self) -> String {
        let mut text = String::from_utf8_lossy(&self.head).into_owned();
        if self.omitted > 0 {
            text.push_str(&format!("\n[... {} bytes omitted ...]\n", self.omitted));
        }
        let tail: Vec<u8> = self.tail.into();
        text.push_str(&String::from_utf8_lossy(&tail));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_output_is_kept_whole() {
        let mut output = Output::new(8);
        output.push(b"abc");
        output.push(b"def");
        assert_eq!(output.into_text(), "abcdef");
    }

    #[test]
    fn of_a_long_output_both_ends_are_kept() {
        let mut output = Output::new(8);
        for chunk in [b"abcd".as_slice(), b"efghij", b"klm"] {
            output.push(chunk);
        }
        assert_eq!(output.into_text(), "abcd\n[... 5 bytes omitted ...]\njklm");
    }
}
