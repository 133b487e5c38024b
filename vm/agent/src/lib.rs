//! The agent: PID 1 of the guest. It mounts file systems, loads modules, reports ready, runs the tests it is sent, each in a
//! process of its own, and tells what came of them, and what they did to the kernel.
//!
//! With `--stdio DIRECTORY` it does the same as an ordinary process on the running kernel: requests come over
//! standard input, reports go to standard output, the payload goes into DIRECTORY.

mod collect;
mod features;
mod guest;
mod libraries;
mod output;
mod process;
mod room;
mod scope;
mod session;
mod wake;
mod watch;
mod window;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::scope::Scope;
use crate::session::Session;

/// Why the agent gave up.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("failed to {what}: {source}")]
    System { what: String, source: std::io::Error },
    #[error("no virtio-serial port named {0:?} came up")]
    NoPort(&'static str),
    #[error(transparent)]
    Protocol(#[from] hooklab_protocol::Error),
    #[error("usage: hooklab-agent --stdio DIRECTORY (without arguments it is PID 1 of a guest)")]
    Usage,
}

impl Error {
    /// For `map_err`: says what failed.
    fn system<E: Into<std::io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Error {
        move |source| Error::System { what: what.into(), source: source.into() }
    }
}

/// Runs the agent, as the program's arguments say; gives its exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let served = match arguments.as_slice() {
        [flag, directory] if flag == "--stdio" => serve_host(directory.into()),
        _ if std::process::id() == 1 => serve_guest(),
        _ => Err(Error::Usage),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hooklab-agent: {error}");
            // PID 1 that returns is a kernel panic: the host is told by the console, at once.
            ExitCode::FAILURE
        }
    }
}

/// Serves as an ordinary process until standard input ends.
fn serve_host(directory: PathBuf) -> Result<(), Error> {
    Session::new(std::io::stdin(), std::io::stdout(), directory, Scope::ProcessGroup)?.serve()
}

/// Serves as PID 1 until it is told to power off.
fn serve_guest() -> Result<(), Error> {
    guest::prepare()?;
    let port = guest::open_port()?;
    let writer = port.try_clone().map_err(Error::system("share the port"))?;
    Session::new(guest::PatientReader(port), writer, "/payload".into(), Scope::Machine)?.serve()?;
    guest::power_off()
}
