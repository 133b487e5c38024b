//! The threads that listen to a machine: to its agent, and to its console.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::SyncSender;

use hooklab_protocol::{self as protocol, Report};

use crate::qemu::console::{self, Log, SharedTail};

/// What is heard from a machine.
pub(super) enum Heard {
    Report(Report),
    Nonsense(String),
    LastWords,
    ConsoleEnded,
}

/// Opens the file that keeps a console. Each machine of a run adds to it: the console of one that died is the one
/// that is wanted.
pub(crate) fn create_log(path: &Path) -> io::Result<Log> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    Ok(Log::new(File::options().create(true).append(true).open(path)?))
}

/// Passes on what the agent says until the port ends.
pub(super) fn forward_reports(mut port: UnixStream, sender: &SyncSender<Heard>) {
    loop {
        let heard = match protocol::receive(&mut port) {
            Ok(report) => Heard::Report(report),
            // The console's end tells of the machine's.
            Err(protocol::Error::Stream(_)) => return,
            Err(error) => Heard::Nonsense(protocol::with_causes(&error)),
        };
        let over = matches!(heard, Heard::Nonsense(_));
        if sender.send(heard).is_err() || over {
            return;
        }
    }
}

/// Passes on the end of the console, and the kernel's last words.
pub(super) fn forward_console(
    console: impl Read,
    log: Option<Log>,
    tail: &SharedTail,
    sender: &SyncSender<Heard>,
) {
    let followed = console::follow(console, log, |line, last_words| {
        console::remember(tail, line);
        if last_words {
            let _ = sender.send(Heard::LastWords);
        }
    });
    if let Err(error) = followed {
        console::remember(tail, format!("(the console could not be followed: {error})"));
    }
    let _ = sender.send(Heard::ConsoleEnded);
}
