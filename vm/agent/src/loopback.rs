//! The loopback interface.

use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::libc;

/// Its name.
const NAME: &[u8] = b"lo";

mod ioctl {
    use nix::libc;

    nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);
}

/// Brings it up, as `ip link set lo up` does (netdevice(7)).
pub(crate) fn bring_up() -> io::Result<()> {
    // Any socket will do for the request; this one asks for no address that is not there.
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    // SAFETY: `ifreq` is plain data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(NAME) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
    // SAFETY: the descriptor is open, and the request lives as long as the call.
    unsafe { ioctl::set_flags(socket.as_raw_fd(), &raw const request) }?;
    Ok(())
}
