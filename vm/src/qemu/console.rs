//! A machine's console: written to a log, and watched for a kernel panic.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};

/// Messages after which a guest is lost: the kernel's (Linux, `kernel/panic.c`), and QEMU's.
const FATAL: [&str; 2] = ["Kernel panic - not syncing", "KVM internal error"];

/// Lines kept: a panic prints some dozens.
const KEPT_LINES: usize = 200;

/// Lines quoted without a fatal message.
const TAIL_LINES: usize = 20;

/// Lines quoted of a panic: the message, the registers, the beginning of the call trace.
const FATAL_LINES: usize = 30;

/// Longest line, in bytes; a longer one is split.
const LINE_BYTES: u64 = 4096;

/// Largest log, in bytes; the rest of what guests print is dropped.
const LOG_BYTES: u64 = 64 << 20;

/// The last lines of a console.
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

    /// The last lines, or a fatal message with some lines before and after it.
    pub(crate) fn text(&self) -> String {
        let (begin, length) = match self.lines.iter().position(|line| is_fatal(line)) {
            Some(at) => (at.saturating_sub(3), FATAL_LINES),
            None => (self.lines.len().saturating_sub(TAIL_LINES), TAIL_LINES),
        };
        self.lines.iter().skip(begin).take(length).map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

fn is_fatal(line: &str) -> bool {
    FATAL.iter().any(|message| line.contains(message))
}

/// A log file of limited size.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    left: u64,
}

impl Log {
    /// Appends to `file`. What is in it counts, too: each test may crash a guest, and all of them share the log.
    pub(crate) fn new(file: File) -> Self {
        Self::with_limit(file, LOG_BYTES)
    }

    fn with_limit(file: File, bytes: u64) -> Self {
        let used = file.metadata().map_or(0, |metadata| metadata.len());
        Self { file, left: bytes.saturating_sub(used) }
    }

    /// Appends a line; one that does not fit, or meets a full disk, ends the log, not the run.
    fn add(&mut self, line: &str) {
        let bytes = line.len() as u64 + 1;
        let fits = bytes <= self.left && writeln!(self.file, "{line}").is_ok();
        self.left = if fits { self.left - bytes } else { 0 };
    }
}

/// Reads `console` to its end into `log`; `read` gets each line, and whether it is a fatal message.
pub(crate) fn follow(
    console: impl Read,
    mut log: Option<Log>,
    mut read: impl FnMut(String, bool),
) -> io::Result<()> {
    let mut console = BufReader::new(console);
    loop {
        let mut line = Vec::new();
        if console.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        // People read logs in a terminal.
        let line = printable(&String::from_utf8_lossy(&line));
        if let Some(log) = &mut log {
            log.add(&line);
        }
        let fatal = is_fatal(&line);
        read(line, fatal);
    }
}

/// Removes the characters that could move a terminal's cursor, change its state, or reorder text: control characters,
/// among them those that begin escape sequences, and Unicode's marks of direction and of lines (Unicode Standard Annex 9,
/// "Explicit Directional Formatting Characters"). Keeps tabs and newlines, except for those at the end.
pub fn printable(text: &str) -> String {
    let controls = |character: char| {
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || (character.is_control() && !matches!(character, '\n' | '\t'))
    };
    text.trim_end_matches(['\r', '\n']).chars().filter(|character| !controls(*character)).collect()
}

/// A tail shared between the thread that reads the console and the one that reports errors.
pub(crate) type SharedTail = std::sync::Arc<std::sync::Mutex<Tail>>;

/// Appends a line to a shared tail.
pub(crate) fn push(tail: &SharedTail, line: String) {
    if let Ok(mut tail) = tail.lock() {
        tail.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail_of(text: &str) -> (Tail, bool) {
        let (mut tail, mut panicked) = (Tail::default(), false);
        follow(text.as_bytes(), None, |line, fatal| {
            panicked |= fatal;
            tail.push(line);
        })
        .unwrap();
        (tail, panicked)
    }

    #[test]
    fn a_panic_is_detected_and_quoted_with_the_lines_before_it() {
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
    fn a_log_is_limited_in_size_and_cannot_control_a_terminal() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for text in ["one \u{1b}[2J\r\n", "two\n", "three is too long\n", "four\n"] {
            let file = File::options().create(true).append(true).open(&path).unwrap();
            follow(text.as_bytes(), Some(Log::with_limit(file, 20)), |_, _| {}).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), "one [2J\ntwo\nfour\n");
    }

    #[test]
    fn quoted_text_cannot_control_a_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\u{7}c\td\u{9b}2J\r\n"), "a[31mbc\td2J");
        assert_eq!(printable("x\u{202e}gpj.exe\u{2028}y\u{2069}z"), "xgpj.exeyz");
    }
}
