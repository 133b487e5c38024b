//! System calls that people trace, made by this program. None of them is `write()`, and none leaves anything.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Seek as _, SeekFrom};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, process, ptr};

use hooklab_types::demo::Stimulus;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, getuid, pause, setuid};

use super::helper;

/// The argument with which this program does nothing.
pub(super) const NOTHING: &str = "--nothing";

/// A file that does not exist.
const MISSING: &str = "/tmp/hooklab-no-such-file";

/// Makes the system calls that standard input names, line by line; answers with the error, if there is one.
pub(super) fn serve() -> io::Result<()> {
    let place = PathBuf::from(format!("/tmp/hooklab-workload-{}", process::id()));
    fs::create_dir(&place)?;
    let served = helper::serve(|name| {
        let stimulus = Stimulus::ALL.into_iter().find(|stimulus| stimulus.name() == name);
        let made = stimulus.map_or(Ok(()), |stimulus| make(stimulus, &place));
        Ok(made.err().map_or_else(String::new, |error| error.to_string().replace('\n', " ")))
    });
    fs::remove_dir_all(&place)?;
    served
}

fn make(stimulus: Stimulus, place: &Path) -> io::Result<()> {
    match stimulus {
        Stimulus::Write => Ok(()),
        Stimulus::Read => read(),
        Stimulus::Open => open(),
        Stimulus::Stat => stat(place),
        Stimulus::Exec => execute(),
        Stimulus::Fork => in_child(|| process::exit(1)),
        Stimulus::Kill => signal(),
        Stimulus::Unlink => unlink(place),
        Stimulus::Mkdir => make_directory(place),
        Stimulus::Rename => rename(place),
        Stimulus::Mmap => map(),
        Stimulus::Sleep => sleep(),
        Stimulus::Tcp => tcp(),
        Stimulus::Udp => udp(),
        Stimulus::Unix => unix(place),
        Stimulus::Setuid => Ok(setuid(getuid())?),
        Stimulus::Mount => mount_privately(place),
        Stimulus::Ptrace => in_child(ask_to_be_traced),
    }
}

fn read() -> io::Result<()> {
    let mut file = fs::File::open("/proc/self/status")?;
    let mut some = [0; 64];
    file.read_exact(&mut some)?;
    file.read_at(&mut some, 8)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(())
}

fn open() -> io::Result<()> {
    drop(fs::File::open("/proc/self/comm")?);
    match fs::File::open(MISSING) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other(format!("{MISSING} exists"))),
    }
}

fn stat(place: &Path) -> io::Result<()> {
    fs::metadata("/proc/self/comm")?;
    fs::symlink_metadata(place)?;
    fs::read_dir(place)?.for_each(drop);
    Ok(())
}

fn execute() -> io::Result<()> {
    let mut command = Command::new(env::current_exe()?);
    let status = command.arg(NOTHING).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("the program ended with {status}"))) }
}

/// Runs `work` in a process of its own, which must not return, and waits for its end.
fn in_child(work: impl FnOnce()) -> io::Result<()> {
    // SAFETY: this process has one thread: no lock is held, and nothing is half done.
    match unsafe { fork() }? {
        ForkResult::Child => {
            work();
            process::exit(0)
        }
        ForkResult::Parent { child } => {
            waitpid(child, None)?;
            Ok(())
        }
    }
}

fn signal() -> io::Result<()> {
    // SAFETY: tgkill(2) takes three numbers; signal 0 asks whether the thread is there.
    unsafe { libc::syscall(libc::SYS_tgkill, process::id(), process::id(), 0) };
    // SAFETY: this process has one thread: no lock is held, and nothing is half done.
    match unsafe { fork() }? {
        ForkResult::Child => loop {
            pause();
        },
        ForkResult::Parent { child } => {
            kill(Pid::from_raw(child.as_raw()), Signal::SIGTERM)?;
            waitpid(child, None)?;
            Ok(())
        }
    }
}

fn unlink(place: &Path) -> io::Result<()> {
    let (file, link) = (place.join("file"), place.join("link"));
    drop(fs::File::create(&file)?);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    symlink(&file, &link)?;
    fs::remove_file(&link)?;
    fs::remove_file(&file)
}

fn make_directory(place: &Path) -> io::Result<()> {
    let directory = place.join("directory");
    fs::create_dir(&directory)?;
    env::set_current_dir(&directory)?;
    env::set_current_dir("/")?;
    fs::remove_dir(&directory)
}

fn rename(place: &Path) -> io::Result<()> {
    let (from, to) = (place.join("from"), place.join("to"));
    drop(fs::File::create(&from)?);
    fs::rename(&from, &to)?;
    fs::remove_file(&to)
}

fn map() -> io::Result<()> {
    let length = NonZeroUsize::MIN.saturating_add(4095);
    let flags = MapFlags::MAP_PRIVATE;
    // SAFETY: the kernel chooses where the memory goes, so nothing else is there.
    let memory =
        unsafe { mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }?;
    // SAFETY: nothing refers to the memory.
    unsafe { mprotect(memory, length.get(), ProtFlags::PROT_READ) }?;
    // SAFETY: nothing refers to the memory.
    unsafe { munmap(memory, length.get()) }?;
    Ok(())
}

fn sleep() -> io::Result<()> {
    let time = libc::timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    // SAFETY: the time lives as long as the call; nobody wants to know what is left of it. glibc's function would call
    // clock_nanosleep(2).
    unsafe { libc::syscall(libc::SYS_nanosleep, &raw const time, ptr::null_mut::<libc::timespec>()) };
    std::thread::sleep(Duration::from_millis(1));
    Ok(())
}

fn tcp() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut received = vec![0; request.len()];
    // std sends by sendto(2), not by write(2).
    io::Write::write_all(&mut client, request)?;
    server.read_exact(&mut received)?;
    io::Write::write_all(&mut server, b"HTTP/1.1 204 No Content\r\n\r\n")?;
    drop(server);
    client.read_to_end(&mut received)?;
    Ok(())
}

fn udp() -> io::Result<()> {
    let receiver = UdpSocket::bind("127.0.0.1:0")?;
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    receiver.set_read_timeout(Some(Duration::from_secs(1)))?;
    sender.send_to(b"x", receiver.local_addr()?)?;
    receiver.recv_from(&mut [0; 16])?;
    Ok(())
}

fn unix(place: &Path) -> io::Result<()> {
    let path = place.join("socket");
    let listener = UnixListener::bind(&path)?;
    let client = UnixStream::connect(&path)?;
    // SAFETY: the descriptor is open; nobody wants to know the address. std's own would call accept4(2).
    let server = unsafe { libc::accept(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut()) };
    if server < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given the descriptor to us, and nobody else knows it.
    let mut server = UnixStream::from(unsafe { OwnedFd::from_raw_fd(server) });
    let message = b"GET / HTTP/1.1\r\n";
    // SAFETY: the descriptor is open, and the message lives as long as the call. std's own would call write(2).
    unsafe { libc::send(client.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
    server.read_exact(&mut [0; 16])?;
    drop(client.try_clone()?);
    fs::remove_file(&path)?;
    let (mut reader, mut writer) = io::pipe()?;
    io::Write::write_vectored(&mut writer, &[IoSlice::new(b"x")])?;
    io::Read::read_vectored(&mut reader, &mut [IoSliceMut::new(&mut [0; 16])])?;
    Ok(())
}

fn ask_to_be_traced() {
    let nothing = ptr::null_mut::<libc::c_void>();
    // SAFETY: ptrace(2) ignores the other arguments of this request.
    unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, nothing, nothing) };
}

/// In a mount namespace of its own: nobody else sees it.
fn mount_privately(place: &Path) -> io::Result<()> {
    in_child(|| {
        let none = None::<&str>;
        let mounted = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))
            .and_then(|()| mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), none))
            .and_then(|()| umount2(place, MntFlags::empty()));
        process::exit(i32::from(mounted.is_err()))
    })
}
