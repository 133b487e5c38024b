//! The kernel's trace, read completely and without waiting.
//!
//! A mark of our own, written into the trace, ends what is read: all that came before it is then known, and what
//! is not there was not printed. The mark is written by `writev()`, so that it triggers nothing itself.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IoSlice, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::libc::O_NONBLOCK;
use nix::sys::uio::writev;

use super::line::{Line, Lost};

/// Where the guest has tracefs.
pub(crate) const TRACEFS: &str = "/sys/kernel/tracing";

/// What the kernel puts before the text of a mark.
const MARK_ORIGIN: &str = "tracing_mark_write";

/// The trace from some moment on. While it lives nobody else can read `trace_pipe`.
pub(crate) struct Trace {
    pipe: File,
    marker: File,
    marks: u32,
    /// What was read after the last complete line.
    rest: String,
}

impl Trace {
    /// Begins now: what earlier tests left is read and forgotten.
    pub(crate) fn start() -> Self {
        // A read that finds nothing fails instead of waiting; the mark is always there before the read.
        let pipe =
            OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(format!("{TRACEFS}/trace_pipe"));
        let marker = OpenOptions::new().write(true).open(format!("{TRACEFS}/trace_marker"));
        let mut trace = Self {
            pipe: pipe.expect("trace_pipe opens"),
            marker: marker.expect("trace_marker opens"),
            marks: 0,
            rest: String::new(),
        };
        // Also a note of lost events, which were lost before anything of interest happened.
        let _ = trace.try_read();
        trace
    }

    /// All lines since the last call, from everybody.
    ///
    /// # Panics
    ///
    /// If the kernel lost any.
    pub(crate) fn read(&mut self) -> Vec<Line> {
        self.try_read().unwrap_or_else(|lost| panic!("{lost}; what the test would say means nothing"))
    }

    /// The same, where losing lines is what the test is about.
    pub(crate) fn try_read(&mut self) -> Result<Vec<Line>, Lost> {
        let mark = self.mark();
        let mut lines = Vec::new();
        let mut lost = None;
        loop {
            let text = self.next_line();
            // A message that ends in a line feed of its own leaves an empty line behind.
            if text.is_empty() {
                continue;
            }
            match Line::parse(&text) {
                Ok(line) if line.origin == MARK_ORIGIN && line.message == mark => break,
                Ok(line) => lines.push(line),
                Err(note) => lost = Some(note),
            }
        }
        lost.map_or(Ok(lines), Err)
    }

    /// Writes a mark that nobody ever wrote before.
    fn mark(&mut self) -> String {
        self.marks += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let mark = format!("hooklab {} {now} {}", process::id(), self.marks);
        writev(&self.marker, &[IoSlice::new(mark.as_bytes())]).expect("the trace takes a mark");
        mark
    }

    fn next_line(&mut self) -> String {
        loop {
            if let Some(end) = self.rest.find('\n') {
                let line = self.rest[..end].to_owned();
                self.rest.drain(..=end);
                return line;
            }
            self.read_more();
        }
    }

    fn read_more(&mut self) {
        let mut chunk = [0; 1 << 14];
        match self.pipe.read(&mut chunk) {
            Ok(length) => self.rest.push_str(&String::from_utf8_lossy(&chunk[..length])),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("the mark did not come out of trace_pipe: {error}"),
        }
    }
}
