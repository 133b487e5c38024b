//! The threads that read a machine's port and console.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::SyncSender;

use hooklab_protocol::{self as protocol, Report};

use crate::qemu::console::{self, Log, SharedTail};

/// What comes from a machine.
pub(super) enum Heard {
    Report(Report),
    /// No more reports can be read.
    Malformed(protocol::Error),
    /// The console shows a fatal message.
    Panic,
    ConsoleEnded,
}

/// Opens a console's log. Each machine of a run appends to it, so that it has the console of one that crashed.
pub(crate) fn create_log(path: &Path) -> io::Result<Log> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    Ok(Log::new(File::options().create(true).append(true).open(path)?))
}

/// Forwards the agent's reports until the port ends.
pub(super) fn forward_reports(mut port: UnixStream, sender: &SyncSender<Heard>) {
    loop {
        let heard = match protocol::receive(&mut port) {
            Ok(report) => Heard::Report(report),
            // The end of the console tells that the machine has ended.
            Err(protocol::Error::Stream(_)) => return,
            Err(error) => Heard::Malformed(error),
        };
        let over = matches!(heard, Heard::Malformed(_));
        if sender.send(heard).is_err() || over {
            return;
        }
    }
}

/// Keeps the console's last lines, and forwards a panic and its end.
pub(super) fn forward_console(
    console: impl Read,
    log: Option<Log>,
    tail: &SharedTail,
    sender: &SyncSender<Heard>,
) {
    let followed = console::follow(console, log, |line, fatal| {
        console::push(tail, line);
        if fatal {
            let _ = sender.send(Heard::Panic);
        }
    });
    if let Err(error) = followed {
        console::push(tail, format!("(failed to read the console: {error})"));
    }
    let _ = sender.send(Heard::ConsoleEnded);
}
