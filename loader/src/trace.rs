//! The kernel's `trace_pipe`, where `bpf_trace_printk` lines come out. Reading consumes them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;

/// What the kernel puts before each message of a program.
const ORIGIN: &[u8] = b": bpf_trace_printk: ";

/// An open `trace_pipe`.
#[derive(Debug)]
pub(crate) struct TracePipe {
    file: File,
    /// The beginning of a line whose end has not been read yet.
    partial: Vec<u8>,
}

impl TracePipe {
    /// Opens the pipe and drops the lines that are already in it.
    ///
    /// # Errors
    ///
    /// The kernel's error, `EBUSY` if another process already reads the pipe.
    pub(crate) fn open(tracefs: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(tracefs.join("trace_pipe"))?;
        let mut pipe = Self { file, partial: Vec::new() };
        pipe.take()?;
        Ok(pipe)
    }

    /// Returns all complete lines that programs have printed so far, each with its line feed, without waiting.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub(crate) fn take(&mut self) -> io::Result<Vec<u8>> {
        let mut chunk = [0; 1 << 14];
        loop {
            match self.file.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => self.partial.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let end = self.partial.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let complete: Vec<u8> = self.partial.drain(..end).collect();
        Ok(program_lines(&complete))
    }
}

impl AsFd for TracePipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Keeps the lines that programs printed, and the kernel's notes that lines were lost.
fn program_lines(text: &[u8]) -> Vec<u8> {
    let wanted = |line: &&[u8]| {
        let contains = |part: &[u8]| line.windows(part.len()).any(|piece| piece == part);
        contains(ORIGIN) || (line.starts_with(b"CPU:") && contains(b" EVENTS]"))
    };
    text.split_inclusive(|&byte| byte == b'\n').filter(wanted).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_programs_printed_is_kept() {
        let text =
            b" a-1 [000] d.... 1.0: bpf_trace_printk: called\n\n a-1 [000] d.... 1.1: sched_switch: x\n";
        assert_eq!(program_lines(text), b" a-1 [000] d.... 1.0: bpf_trace_printk: called\n");
    }

    #[test]
    fn lost_lines_are_told() {
        let text = b"CPU:0 [LOST 12 EVENTS]\n";
        assert_eq!(program_lines(text), text);
    }
}
