//! Tests that send to the host what the agent would not: root in a guest may take its descriptors.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread::sleep;

use nix::errno::Errno;
use nix::libc;

use crate::failures::FOR_EVER;

/// The agent's end of the port to the host (pidfd_getfd(2)).
fn port() -> File {
    let is_port = |number: &i32| {
        let target = fs::read_link(format!("/proc/1/fd/{number}")).unwrap_or_default();
        target.to_string_lossy().starts_with("/dev/vport")
    };
    let number = (3..64).find(is_port).unwrap();
    // SAFETY: the call takes no pointer.
    let agent = descriptor(unsafe { libc::syscall(libc::SYS_pidfd_open, 1, 0) });
    // SAFETY: as above.
    let port = unsafe { libc::syscall(libc::SYS_pidfd_getfd, agent.as_raw_fd(), number, 0) };
    descriptor(port).into()
}

fn descriptor(result: libc::c_long) -> OwnedFd {
    let number = i32::try_from(Errno::result(result).unwrap()).unwrap();
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

#[test]
fn breaks_the_protocol() {
    port().write_all(&[0xff; 64]).unwrap();
    sleep(FOR_EVER);
}

#[test]
fn plants_a_file() {
    for path in ["tests/guest/snapshots/planted.snap.new", "../../../planted.snap.new"] {
        let message = format!(r#"{{"file":{{"path":"{path}","content":"planted"}}}}"#);
        let length = u32::try_from(message.len()).unwrap().to_le_bytes();
        port().write_all(&[&length, message.as_bytes()].concat()).unwrap();
    }
    sleep(FOR_EVER);
}

#[test]
fn floods_the_host() {
    let message = br#"{"started":{"test":"hostile::floods_the_host"}}"#;
    let length = u32::try_from(message.len()).unwrap().to_le_bytes();
    let frames = [&length[..], message].concat().repeat(1 << 10);
    let mut port = port();
    while port.write_all(&frames).is_ok() {}
}

#[test]
fn draws_on_the_terminal() {
    println!("\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}drawn");
    panic!("\u{1b}[31mred");
}
