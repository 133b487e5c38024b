//! After-restore fix-ups: resets the state that a restored machine must not keep, which is its clock, random number
//! generator and trace buffer.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;

use hooklab_protocol::{AfterRestore, ENTROPY_BYTES};
use nix::libc::c_int;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

use crate::Error;

/// The trace buffer; opening it for writing clears it (kernel documentation, "ftrace": `trace`).
const TRACE: &str = "/sys/kernel/tracing/trace";

/// `struct rand_pool_info`, with its bytes inline (Linux, `include/uapi/linux/random.h`).
#[repr(C)]
struct PoolInfo {
    entropy_bits: c_int,
    bytes: c_int,
    content: [u8; ENTROPY_BYTES],
}

// Request numbers: random(4), "ioctl(2) interface". That of the first encodes the size of the structure's header only.
nix::ioctl_write_ptr!(add_entropy, b'R', 0x03, [c_int; 2]);
nix::ioctl_none!(reseed, b'R', 0x07);

/// Sets the clock, reseeds the random number generator, and clears the trace buffer.
pub(crate) fn fix_up(input: &AfterRestore) -> Result<(), Error> {
    let time = TimeSpec::new(input.time.seconds, input.time.nanoseconds.into());
    clock_settime(ClockId::CLOCK_REALTIME, time).map_err(Error::system("set the clock"))?;
    add_random_bytes(&input.entropy).map_err(Error::system("reseed the random number generator"))?;
    match File::options().write(true).truncate(true).open(TRACE) {
        Ok(_) => Ok(()),
        // The kernel has no tracefs.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::system("clear the trace buffer")(error)),
    }
}

fn add_random_bytes(entropy: &[u8; ENTROPY_BYTES]) -> std::io::Result<()> {
    let random = File::options().write(true).open("/dev/urandom")?;
    let length = c_int::try_from(ENTROPY_BYTES).unwrap_or(c_int::MAX);
    let pool = PoolInfo { entropy_bits: length * 8, bytes: length, content: *entropy };
    // SAFETY: the structure has the layout that the kernel expects, and outlives the call, which only reads it.
    unsafe { add_entropy(random.as_raw_fd(), (&raw const pool).cast()) }?;
    // SAFETY: the call takes no argument.
    unsafe { reseed(random.as_raw_fd()) }?;
    Ok(())
}
