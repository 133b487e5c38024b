//! What a machine that was saved and resumed must not have inherited: its clock, its random pool, its trace.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;

use hooklab_protocol::{AfterRestore, ENTROPY_BYTES};
use nix::libc::c_int;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

use crate::Error;

/// Opened for writing it is emptied (kernel documentation, "ftrace": `trace`).
const TRACE: &str = "/sys/kernel/tracing/trace";

/// `struct rand_pool_info` with its bytes in place (Linux, `include/uapi/linux/random.h`).
#[repr(C)]
struct PoolInfo {
    entropy_bits: c_int,
    bytes: c_int,
    content: [u8; ENTROPY_BYTES],
}

// The numbers of random(4), "ioctl(2) interface"; the first is declared with the head of the structure alone.
nix::ioctl_write_ptr!(add_entropy, b'R', 0x03, [c_int; 2]);
nix::ioctl_none!(reseed, b'R', 0x07);

/// Sets the clock, mixes random bytes in, and empties the trace buffer.
pub(crate) fn set_right(wake: &AfterRestore) -> Result<(), Error> {
    let time = TimeSpec::new(wake.time.seconds, wake.time.nanoseconds.into());
    clock_settime(ClockId::CLOCK_REALTIME, time).map_err(Error::system("set the clock"))?;
    mix(&wake.entropy).map_err(Error::system("mix random bytes in"))?;
    match File::options().write(true).truncate(true).open(TRACE) {
        Ok(_) => Ok(()),
        // A kernel without tracefs.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::system("empty the trace buffer")(error)),
    }
}

fn mix(entropy: &[u8; ENTROPY_BYTES]) -> std::io::Result<()> {
    let random = File::options().write(true).open("/dev/urandom")?;
    let length = c_int::try_from(ENTROPY_BYTES).unwrap_or(c_int::MAX);
    let pool = PoolInfo { entropy_bits: length * 8, bytes: length, content: *entropy };
    // SAFETY: the structure is laid out as the kernel expects, and lives across the call, which only reads it.
    unsafe { add_entropy(random.as_raw_fd(), (&raw const pool).cast()) }?;
    // SAFETY: the call takes no argument.
    unsafe { reseed(random.as_raw_fd()) }?;
    Ok(())
}
