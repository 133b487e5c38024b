//! The part of a running test's output that the host has not been sent yet.

use std::time::{Duration, Instant};

use hooklab_protocol::MAX_STREAMED;

/// Shortest time between two reports: each interrupts the host, and programs under test may see its system calls.
const INTERVAL: Duration = Duration::from_millis(100);

/// Bytes that are reported at once, without waiting.
const CHUNK: usize = 64 << 10;

/// Output on its way to the host.
pub(crate) struct Stream {
    pending: Vec<u8>,
    /// Bytes that may still be sent.
    left: usize,
    sent: Instant,
}

impl Stream {
    /// Creates a stream that sends at most [`MAX_STREAMED`] bytes.
    pub(crate) fn new() -> Self {
        Self { pending: Vec::new(), left: MAX_STREAMED, sent: Instant::now() }
    }

    /// Appends `bytes`, as far as they may be sent.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let fitting = &bytes[..bytes.len().min(self.left)];
        self.pending.extend_from_slice(fitting);
        self.left -= fitting.len();
    }

    /// How long what is pending can wait; `None` if nothing is.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let wait = if self.pending.len() < CHUNK { INTERVAL } else { Duration::ZERO };
        (!self.pending.is_empty()).then(|| wait.saturating_sub(self.sent.elapsed()))
    }

    /// What is to be sent now; with `all`, whatever is pending. A character of which only the first bytes have come stays.
    pub(crate) fn take(&mut self, all: bool) -> Option<String> {
        if self.pending.is_empty() || !(all || self.wait().is_some_and(|wait| wait.is_zero())) {
            return None;
        }
        self.sent = Instant::now();
        let whole = match std::str::from_utf8(&self.pending) {
            Err(error) if error.error_len().is_none() && !all => error.valid_up_to(),
            _ => self.pending.len(),
        };
        let bytes: Vec<u8> = self.pending.drain(..whole).collect();
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_sent_whole() {
        let mut stream = Stream::new();
        stream.push(&vec![b'a'; CHUNK]);
        stream.push(&"ä".as_bytes()[..1]);
        assert_eq!(stream.take(false).unwrap().len(), CHUNK);
        assert_eq!(stream.take(false), None);
        stream.push(&"ä".as_bytes()[1..]);
        assert_eq!(stream.take(true).as_deref(), Some("ä"));
        assert_eq!((stream.take(true), stream.wait()), (None, None));
    }

    #[test]
    fn what_is_sent_is_bounded() {
        let mut stream = Stream::new();
        let mut sent = 0;
        for _ in 0..(MAX_STREAMED / CHUNK + 10) {
            stream.push(&vec![0xff; CHUNK]);
            sent += stream.take(true).map_or(0, |text| text.chars().count());
        }
        assert_eq!(sent, MAX_STREAMED);
    }
}
