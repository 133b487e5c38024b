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

/// Most bytes of a log; what guests print beyond them is not kept.
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

/// The file that keeps what consoles print, up to a size.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    left: u64,
}

impl Log {
    /// Adds to `file`. What other machines of the run have added counts, too: a guest may die as often as there are tests.
    pub(crate) fn new(file: File) -> Self {
        Self::with_room(file, LOG_BYTES)
    }

    fn with_room(file: File, bytes: u64) -> Self {
        let used = file.metadata().map_or(0, |metadata| metadata.len());
        Self { file, left: bytes.saturating_sub(used) }
    }

    /// Adds a line; one that does not fit, or meets a full disk, is the end of the log, not of the run.
    fn add(&mut self, line: &str) {
        let bytes = line.len() as u64 + 1;
        let fits = bytes <= self.left && writeln!(self.file, "{line}").is_ok();
        self.left = if fits { self.left - bytes } else { 0 };
    }
}

/// Reads `console` to its end into `log`; `heard` gets each line, and whether it holds the kernel's last words.
pub(crate) fn follow(
    console: impl Read,
    mut log: Option<Log>,
    mut heard: impl FnMut(String, bool),
) -> io::Result<()> {
    let mut console = BufReader::new(console);
    loop {
        let mut line = Vec::new();
        if console.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        // Somebody will look at the log in a terminal.
        let line = printable(&String::from_utf8_lossy(&line));
        if let Some(log) = &mut log {
            log.add(&line);
        }
        let last = LAST_WORDS.iter().any(|words| line.contains(words));
        heard(line, last);
    }
}

/// `text` without what could move a terminal's cursor, change its state, or show text in another order than it has:
/// control characters, among them those that begin escape sequences, and Unicode's marks of direction and of lines
/// (Unicode Standard Annex 9, "Explicit Directional Formatting Characters"). Tabs and line ends stay.
pub fn printable(text: &str) -> String {
    let steers = |character: char| {
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || (character.is_control() && !matches!(character, '\n' | '\t'))
    };
    text.trim_end_matches(['\r', '\n']).chars().filter(|character| !steers(*character)).collect()
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
    fn a_log_is_bounded_whoever_adds_to_it_and_shows_nothing_that_steers_a_terminal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for text in ["one \u{1b}[2J\r\n", "two\n", "three is too long\n", "four\n"] {
            let file = File::options().create(true).append(true).open(&path).unwrap();
            follow(text.as_bytes(), Some(Log::with_room(file, 20)), |_, _| {}).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), "one [2J\ntwo\nfour\n");
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_quoted() {
        assert_eq!(printable("a\u{1b}[31mb\u{7}c\td\u{9b}2J\r\n"), "a[31mbc\td2J");
        assert_eq!(printable("x\u{202e}gpj.exe\u{2028}y\u{2069}z"), "xgpj.exeyz");
    }
}
