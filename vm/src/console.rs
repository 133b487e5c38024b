//! What the machine prints on its console: kept as a log, watched for the kernel's last words.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};

/// How a kernel says that it is done for (Linux, `kernel/panic.c`), and what else ends a guest before user space.
const LAST_WORDS: [&str; 2] = ["Kernel panic - not syncing", "KVM internal error"];

/// Lines kept: a panic prints some dozens after its first.
const KEPT_LINES: usize = 200;

/// Lines quoted where there were no last words.
const TAIL_LINES: usize = 20;

/// Lines quoted of last words: the message, the registers, the beginning of the call trace.
const LAST_WORDS_LINES: usize = 30;

/// Longest line taken as one, in bytes.
const LINE_BYTES: u64 = 4096;

/// Most bytes of a log; what a guest prints beyond them is not kept.
const LOG_BYTES: u64 = 64 << 20;

/// The end of what a console printed.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    lines: VecDeque<String>,
}

impl Tail {
    fn push(&mut self, line: String) {
        if self.lines.len() == KEPT_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The last lines, or, where the kernel said its last words, these and a little of what came before.
    pub(crate) fn text(&self) -> String {
        let last_words = |line: &String| LAST_WORDS.iter().any(|words| line.contains(words));
        let (begin, length) = match self.lines.iter().position(last_words) {
            Some(at) => (at.saturating_sub(3), LAST_WORDS_LINES),
            None => (self.lines.len().saturating_sub(TAIL_LINES), TAIL_LINES),
        };
        self.lines.iter().skip(begin).take(length).map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// Reads `console` to its end into `log`; `heard` gets each line, and whether it holds the kernel's last words.
pub(crate) fn follow(
    console: impl Read,
    mut log: Option<File>,
    mut heard: impl FnMut(String, bool),
) -> io::Result<()> {
    let mut console = BufReader::new(console);
    let mut logged = 0;
    loop {
        let mut line = Vec::new();
        if console.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        logged += line.len() as u64;
        // A disk that is full costs the log, not the run.
        log = log
            .filter(|_| logged <= LOG_BYTES)
            .and_then(|mut log| log.write_all(&line).is_ok().then_some(log));
        let line = printable(&String::from_utf8_lossy(&line));
        let last = LAST_WORDS.iter().any(|words| line.contains(words));
        heard(line, last);
    }
}

/// `text` without what could move a terminal's cursor or change its state: control characters, among them those
/// that begin escape sequences. Tabs and line ends stay.
pub fn printable(text: &str) -> String {
    let kept = |character: &char| !character.is_control() || matches!(character, '\n' | '\t');
    text.trim_end_matches(['\r', '\n']).chars().filter(kept).collect()
}

/// A tail shared between the thread that reads the console and the one that reports.
pub(crate) type SharedTail = std::sync::Arc<std::sync::Mutex<Tail>>;

/// Adds a line to a shared tail.
pub(crate) fn remember(tail: &SharedTail, line: String) {
    if let Ok(mut tail) = tail.lock() {
        tail.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail_of(text: &str) -> (Tail, bool) {
        let (mut tail, mut panicked) = (Tail::default(), false);
        follow(text.as_bytes(), None, |line, last| {
            panicked |= last;
            tail.push(line);
        })
        .unwrap();
        (tail, panicked)
    }

    #[test]
    fn a_panic_is_heard_and_quoted_from_shortly_before_it() {
        let boot = (0..20).map(|line| format!("[ 0.{line}] booting\r\n")).collect::<String>();
        let text = format!("{boot}[ 1.0] Kernel panic - not syncing: sysrq\r\n[ 1.1] Call Trace:");
        let (tail, panicked) = tail_of(&text);
        assert!(panicked);
        assert_eq!(
            tail.text(),
            "[ 0.17] booting\n[ 0.18] booting\n[ 0.19] booting\n[ 1.0] Kernel panic - not syncing: sysrq\n\
             [ 1.1] Call Trace:"
        );
    }

    #[test]
    fn a_quiet_console_is_quoted_by_its_last_lines() {
        let (tail, panicked) = tail_of(&(0..100).map(|line| format!("{line}\n")).collect::<String>());
        assert!(!panicked);
        assert_eq!(tail.text().lines().count(), TAIL_LINES);
        assert!(tail.text().ends_with("\n99"));
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_quoted() {
        assert_eq!(printable("a\u{1b}[31mb\u{7}c\td\u{9b}2J\r\n"), "a[31mbc\td2J");
    }
}
