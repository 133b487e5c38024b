//! Standard output without `write`.
//!
//! The program that is attached may well print a line for each call of `write()`. If printing that line were
//! such a call too, `--trace` would trigger itself forever. `writev()` is another system call.

use std::io::{self, IoSlice};

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
