//! Standard output without `write`.
//!
//! The program that is attached may well print a line for each call of `write()`. If printing that line were
//! such a call too, `--trace` would trigger itself forever. `writev()` is another system call.

use std::io::{self, IoSlice, Write as _};

use hooklab_types::loader::Line;
use nix::errno::Errno;
use nix::sys::uio::writev;

/// Writes all of `text` to standard output.
///
/// # Errors
///
/// The kernel's error, `EPIPE` if the reader has closed it.
pub(crate) fn print(text: &[u8]) -> io::Result<()> {
    let mut rest = text;
    while !rest.is_empty() {
        match writev(io::stdout(), &[IoSlice::new(rest)]) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Prints lines in the form that the user asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    /// Whether each line is JSON.
    pub(crate) json: bool,
}

impl Printer {
    /// Appends a line and its line feed to a text.
    pub(crate) fn format(self, line: &Line, text: &mut Vec<u8>) {
        // Neither can fail: the text is in memory, and the line has only strings as keys.
        if self.json {
            let _ = serde_json::to_writer(&mut *text, line);
        } else {
            let _ = write!(text, "{line}");
        }
        text.push(b'\n');
    }

    /// Writes a text, and ignores a closed pipe: standard input ends with it.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub(crate) fn write(self, text: &[u8]) -> io::Result<()> {
        match print(text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    /// Prints one line.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub(crate) fn line(self, line: &Line) -> io::Result<()> {
        let mut text = Vec::new();
        self.format(line, &mut text);
        self.write(&text)
    }
}
