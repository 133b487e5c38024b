//! QEMU's monitor: the few commands that save and restore a machine (QEMU manual, "QMP Reference").
//!
//! Seven commands on one stream; a client generated from QEMU's schema would bring some thousand types for them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::{Value, json};

use super::Cancellation;
use super::error::{MachineError, MonitorError, quoted};

/// Longest wait for an answer; to save or load a state of some hundred KiB takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes a second; QEMU's default of 128 MiB would slow down a state with much in it.
const BANDWIDTH: u64 = 10 << 30;

/// QEMU's name for the file with the state.
const STATE: &str = "state";

/// Interval at which waits check for cancellation.
const CANCEL_INTERVAL: Duration = Duration::from_millis(50);

/// The host's end of the monitor.
pub(super) struct Monitor {
    stream: BufReader<UnixStream>,
    patience: Duration,
    cancellation: Cancellation,
}

impl Monitor {
    /// Takes a stream whose other end QEMU has.
    pub(super) fn new(stream: UnixStream, cancellation: Cancellation) -> io::Result<Self> {
        stream.set_read_timeout(Some(CANCEL_INTERVAL))?;
        Ok(Self { stream: BufReader::new(stream), patience: PATIENCE, cancellation })
    }

    /// Limits the wait for an answer.
    pub(super) fn wait_at_most(&mut self, limit: Duration) {
        self.patience = PATIENCE.min(limit);
    }

    /// Waits for QEMU's greeting and configures migration: memory stays where it is, in its own file.
    pub(super) fn negotiate(&mut self) -> Result<(), MachineError> {
        self.receive(|message| message.get("QMP").is_some())?;
        self.execute("qmp_capabilities", &json!({}))?;
        let on = |capability| json!({ "capability": capability, "state": true });
        let capabilities = json!({ "capabilities": [on("x-ignore-shared"), on("events")] });
        self.execute("migrate-set-capabilities", &capabilities).map(drop)
    }

    /// Stops the machine and writes its state, without its memory, to `state`.
    pub(super) fn save(&mut self, state: &File) -> Result<(), MachineError> {
        self.execute("migrate-set-parameters", &json!({ "max-bandwidth": BANDWIDTH }))?;
        self.hand_over(state)?;
        self.execute("migrate", &json!({ "uri": format!("fd:{STATE}") }))?;
        self.wait_for_migration()?;
        self.wait_until_finalized()
    }

    /// QEMU reports that a migration is completed a moment before it accepts `cont`.
    fn wait_until_finalized(&mut self) -> Result<(), MachineError> {
        let deadline = Instant::now() + self.patience;
        while Instant::now() < deadline {
            if self.execute("query-status", &json!({}))?["status"] != "finish-migrate" {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(MonitorError::EndlessMigration.into())
    }

    /// Lets the machine continue after it was saved.
    pub(super) fn resume(&mut self) -> Result<(), MachineError> {
        self.execute("cont", &json!({})).map(drop)
    }

    /// Loads `state` into a machine that waits for it, and lets it continue.
    pub(super) fn restore(&mut self, state: &File) -> Result<(), MachineError> {
        self.hand_over(state)?;
        // It was running when it was saved, so it runs again.
        self.execute("migrate-incoming", &json!({ "uri": format!("fd:{STATE}") }))?;
        self.wait_for_migration()
    }

    /// Gives QEMU a descriptor, which travels with the bytes of a command ("getfd").
    fn hand_over(&mut self, file: &File) -> Result<(), MachineError> {
        let command = frame("getfd", &json!({ "fdname": STATE }));
        let descriptors = [file.as_raw_fd()];
        let message = [ControlMessage::ScmRights(&descriptors)];
        let socket = self.stream.get_ref().as_raw_fd();
        let sent = sendmsg::<()>(socket, &[IoSlice::new(&command)], &message, MsgFlags::MSG_NOSIGNAL, None);
        sent.map_err(|errno| MonitorError::Socket(errno.into()))?;
        self.answer("getfd").map(drop)
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, MachineError> {
        self.stream.get_mut().write_all(&frame(command, arguments)).map_err(MonitorError::Socket)?;
        self.answer(command)
    }

    /// Waits for the answer to `command`, and returns its value.
    fn answer(&mut self, command: &str) -> Result<Value, MachineError> {
        let mut answer = self.receive(|message| message.get("return").or(message.get("error")).is_some())?;
        match answer.get("error") {
            None => Ok(answer["return"].take()),
            Some(error) => {
                let (command, description) = (command.to_owned(), quoted(&error["desc"].to_string()));
                Err(MonitorError::Refused { command, description }.into())
            }
        }
    }

    fn wait_for_migration(&mut self) -> Result<(), MachineError> {
        let is_over = |message: &Value| {
            message["event"] == "MIGRATION"
                && ["completed", "failed"].map(Value::from).contains(&message["data"]["status"])
        };
        let over = self.receive(is_over)?;
        match over["data"]["status"] == "completed" {
            true => Ok(()),
            false => Err(MonitorError::Migration.into()),
        }
    }

    /// Returns the next message that is `wanted`, and ignores events in between.
    fn receive(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<Value, MachineError> {
        let deadline = Instant::now() + self.patience;
        let mut line = Vec::new();
        while Instant::now() < deadline {
            if self.cancellation.is_set() {
                return Err(MachineError::Cancelled);
            }
            match self.stream.read_until(b'\n', &mut line) {
                Ok(0) => return Err(MonitorError::Closed.into()),
                Ok(_) if line.ends_with(b"\n") => {}
                Ok(_) => continue,
                // Keeps what has come of the line so far.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(MonitorError::Socket(error).into()),
            }
            let message = serde_json::from_slice(&line).map_err(MonitorError::Malformed)?;
            if wanted(&message) {
                return Ok(message);
            }
            line.clear();
        }
        Err(MonitorError::Silent.into())
    }
}

fn frame(command: &str, arguments: &Value) -> Vec<u8> {
    let mut line = json!({ "execute": command, "arguments": arguments }).to_string().into_bytes();
    line.push(b'\n');
    line
}
