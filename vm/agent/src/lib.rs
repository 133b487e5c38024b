//! The agent: PID 1 of the guest.
//!
//! Mounts file systems, loads modules, reports ready, runs the tests that the host requests, each in a process of its own,
//! and reports their results and their side effects on the kernel.
//!
//! With `--stdio DIRECTORY` it is an ordinary process on the running kernel: it reads requests from standard input, writes
//! reports to standard output, and unpacks the payload into DIRECTORY.

mod collect;
mod features;
mod free_memory;
mod guest;
mod libraries;
mod loopback;
mod output;
mod process;
mod restore;
mod scope;
mod session;
mod shared_memory;
mod stream;
mod system_files;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use hooklab_protocol as protocol;

use crate::scope::Scope;
use crate::session::Session;

/// An error that ends the agent.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("failed to {what}")]
    System { what: String, source: std::io::Error },
    #[error("the virtio-serial port {name:?} did not appear within {} s", waited.as_secs())]
    NoPort { name: &'static str, waited: Duration },
    #[error(transparent)]
    Protocol(#[from] protocol::Error),
    #[error("usage: hooklab-agent --stdio DIRECTORY (without arguments only as PID 1 of a guest)")]
    Usage,
}

impl Error {
    /// Converts a system error, for `map_err`; `what` completes "failed to".
    fn system<E: Into<std::io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Error {
        move |source| Error::System { what: what.into(), source: source.into() }
    }
}

/// Runs the agent with the program's arguments, and returns its exit code.
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
            eprintln!("hooklab-agent: {}", protocol::with_causes(&error));
            // The kernel panics when PID 1 exits: the host learns of it from the console, at once.
            ExitCode::FAILURE
        }
    }
}

/// Runs as an ordinary process until standard input ends.
fn serve_host(directory: PathBuf) -> Result<(), Error> {
    Session::new(std::io::stdin(), std::io::stdout(), directory, Scope::ProcessGroup)?.serve()
}

/// Runs as PID 1 until the host asks to power off.
fn serve_guest() -> Result<(), Error> {
    guest::prepare()?;
    let port = guest::open_port()?;
    let writer = port.try_clone().map_err(Error::system("duplicate the port's descriptor"))?;
    Session::new(guest::PortReader(port), writer, "/payload".into(), Scope::Machine)?.serve()?;
    guest::power_off()
}
