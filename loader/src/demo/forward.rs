//! Messages on their way to the host: gathered for a moment, since each call may be seen by the program that is attached,
//! and bounded in sum.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hooklab_types::demo::Message;

use crate::output;

/// How long messages are gathered.
const INTERVAL: Duration = Duration::from_millis(50);

/// Bytes that are printed without gathering more.
const CHUNK: usize = 32 << 10;

/// Bytes that are printed in all.
const BYTES: usize = 8 << 20;

/// Messages that may wait to be printed: whoever sends faster is slowed down.
const BACKLOG: usize = 256;

/// Longest line that is taken as one, in bytes.
const LINE_BYTES: u64 = 16 << 10;

/// Prints messages from a thread of its own.
pub(super) struct Forwarder {
    sender: SyncSender<Option<Message>>,
    thread: JoinHandle<io::Result<()>>,
}

/// Sends messages from any thread.
#[derive(Clone)]
pub(super) struct Sender(SyncSender<Option<Message>>);

impl Sender {
    /// Sends a message; without effect once the forwarder is finished.
    pub(super) fn send(&self, message: Message) {
        let _ = self.0.send(Some(message));
    }
}

impl Forwarder {
    pub(super) fn start() -> Self {
        let (sender, messages) = sync_channel(BACKLOG);
        let thread = thread::spawn(move || forward(&messages));
        Self { sender, thread }
    }

    pub(super) fn sender(&self) -> Sender {
        Sender(self.sender.clone())
    }

    /// Prints what was sent so far, and ends.
    pub(super) fn finish(self) -> io::Result<()> {
        let _ = self.sender.send(None);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that prints panicked")))
    }
}

/// Prints messages until `None` comes.
fn forward(messages: &Receiver<Option<Message>>) -> io::Result<()> {
    let mut budget = Budget { left: BYTES, omitted: 0 };
    while let Ok(Some(message)) = messages.recv() {
        let mut text = Vec::new();
        budget.add(&message, &mut text);
        let deadline = Instant::now() + INTERVAL;
        let mut is_last = false;
        while !is_last && text.len() < CHUNK {
            match messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Some(message)) => budget.add(&message, &mut text),
                Err(RecvTimeoutError::Timeout) => break,
                Ok(None) | Err(RecvTimeoutError::Disconnected) => is_last = true,
            }
        }
        output::print(&text)?;
        if is_last {
            break;
        }
    }
    let mut text = Vec::new();
    if budget.omitted > 0 {
        add(&Message::Omitted { lines: budget.omitted }, &mut text);
    }
    output::print(&text)
}

/// What may still be printed.
struct Budget {
    left: usize,
    omitted: u64,
}

impl Budget {
    fn add(&mut self, message: &Message, text: &mut Vec<u8>) {
        let before = text.len();
        add(message, text);
        match self.left.checked_sub(text.len() - before) {
            Some(left) => self.left = left,
            None => {
                // Nothing more follows: a gap in the middle would mislead.
                self.left = 0;
                self.omitted += 1;
                text.truncate(before);
            }
        }
    }
}

/// Adds a message as a line.
fn add(message: &Message, text: &mut Vec<u8>) {
    if let Ok(line) = serde_json::to_vec(message) {
        text.extend_from_slice(&line);
        text.push(b'\n');
    }
}

/// Passes each line of a stream to `take`; a long one in parts.
pub(super) fn lines(stream: impl Read, mut take: impl FnMut(String)) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        match stream.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                take(String::from_utf8_lossy(&line).into_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut budget = Budget { left: 100, omitted: 0 };
        let mut text = Vec::new();
        for _ in 0..10 {
            budget.add(&Message::Loader { line: "x".into() }, &mut text);
        }
        let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert!(lines > 0 && text.len() <= 100);
        assert_eq!(budget.omitted, 10 - lines);
    }

    #[test]
    fn lines_are_split_and_bounded() {
        let mut seen = Vec::new();
        let long = "y".repeat(usize::try_from(LINE_BYTES).unwrap() + 1);
        lines(format!("a\n\n{long}").as_bytes(), |line| seen.push(line));
        assert_eq!(seen.len(), 4);
        assert_eq!((seen[0].as_str(), seen[1].as_str(), seen[3].as_str()), ("a", "", "y"));
    }
}
