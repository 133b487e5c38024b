//! QEMU's monitor: the few commands that save a machine and resume it (QEMU manual, "QMP Reference").
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

use super::{Death, Halt};

/// Longest wait for one answer of QEMU's; loading and saving a state of some hundred KiB takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes a second; QEMU's default of 128 MiB would slow down a state with much in it.
const BANDWIDTH: u64 = 10 << 30;

/// The name by which QEMU knows the file with the state.
const STATE: &str = "state";

/// How often a wait looks whether the user has interrupted the run.
const CANCEL_INTERVAL: Duration = Duration::from_millis(50);

/// The host's end of the monitor.
pub(super) struct Monitor {
    stream: BufReader<UnixStream>,
    patience: Duration,
    halt: Halt,
}

impl Monitor {
    /// Takes a stream that QEMU has the other end of.
    pub(super) fn new(stream: UnixStream, halt: Halt) -> io::Result<Self> {
        stream.set_read_timeout(Some(CANCEL_INTERVAL))?;
        Ok(Self { stream: BufReader::new(stream), patience: PATIENCE, halt })
    }

    /// Waits for an answer no longer than this.
    pub(super) fn wait_at_most(&mut self, limit: Duration) {
        self.patience = PATIENCE.min(limit);
    }

    /// Waits for QEMU's greeting and agrees on how to migrate: memory stays where it is, in its own file.
    pub(super) fn negotiate(&mut self) -> Result<(), Death> {
        self.receive(|message| message.get("QMP").is_some())?;
        self.execute("qmp_capabilities", &json!({}))?;
        let on = |capability| json!({ "capability": capability, "state": true });
        let capabilities = json!({ "capabilities": [on("x-ignore-shared"), on("events")] });
        self.execute("migrate-set-capabilities", &capabilities).map(drop)
    }

    /// Stops the machine and writes its state, without its memory, to `state`.
    pub(super) fn save(&mut self, state: &File) -> Result<(), Death> {
        self.execute("migrate-set-parameters", &json!({ "max-bandwidth": BANDWIDTH }))?;
        self.hand_over(state)?;
        self.execute("migrate", &json!({ "uri": format!("fd:{STATE}") }))?;
        self.wait_for_migration()?;
        self.wait_until_finalized()
    }

    /// QEMU says that a migration is completed a moment before it may be told to go on: until then it refuses.
    fn wait_until_finalized(&mut self) -> Result<(), Death> {
        let deadline = Instant::now() + self.patience;
        while Instant::now() < deadline {
            if self.execute("query-status", &json!({}))?["status"] != "finish-migrate" {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(Death::Monitor("its migration never ends".into()))
    }

    /// Has the machine go on after it was saved.
    pub(super) fn go_on(&mut self) -> Result<(), Death> {
        self.execute("cont", &json!({})).map(drop)
    }

    /// Loads `state` into a machine that waits for it, and has it go on.
    pub(super) fn load(&mut self, state: &File) -> Result<(), Death> {
        self.hand_over(state)?;
        // It was running when it was saved, so it does again.
        self.execute("migrate-incoming", &json!({ "uri": format!("fd:{STATE}") }))?;
        self.wait_for_migration()
    }

    /// Gives QEMU a descriptor: with the bytes of a command, which reads it from there ("getfd").
    fn hand_over(&mut self, file: &File) -> Result<(), Death> {
        let command = frame("getfd", &json!({ "fdname": STATE }));
        let descriptors = [file.as_raw_fd()];
        let message = [ControlMessage::ScmRights(&descriptors)];
        let socket = self.stream.get_ref().as_raw_fd();
        let sent = sendmsg::<()>(socket, &[IoSlice::new(&command)], &message, MsgFlags::MSG_NOSIGNAL, None);
        sent.map_err(|errno| failed(&errno.into()))?;
        self.answer("getfd").map(drop)
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, Death> {
        let sent = self.stream.get_mut().write_all(&frame(command, arguments));
        sent.map_err(|error| failed(&error))?;
        self.answer(command)
    }

    /// Waits for the answer to `command`; what that returns.
    fn answer(&mut self, command: &str) -> Result<Value, Death> {
        let mut answer = self.receive(|message| message.get("return").or(message.get("error")).is_some())?;
        match answer.get("error") {
            None => Ok(answer["return"].take()),
            Some(error) => Err(Death::Monitor(format!("{command}: {}", error["desc"]))),
        }
    }

    fn wait_for_migration(&mut self) -> Result<(), Death> {
        let is_over = |message: &Value| {
            message["event"] == "MIGRATION"
                && ["completed", "failed"].map(Value::from).contains(&message["data"]["status"])
        };
        let over = self.receive(is_over)?;
        match over["data"]["status"] == "completed" {
            true => Ok(()),
            false => Err(Death::Monitor("the migration failed".into())),
        }
    }

    /// The next message that is `wanted`; events come in between.
    fn receive(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<Value, Death> {
        let deadline = Instant::now() + self.patience;
        let mut line = Vec::new();
        while Instant::now() < deadline {
            if self.halt.is_set() {
                return Err(Death::Cancelled);
            }
            match self.stream.read_until(b'\n', &mut line) {
                Ok(0) => return Err(Death::Monitor("it ended".into())),
                Ok(_) if line.ends_with(b"\n") => {}
                Ok(_) => continue,
                // What has come of the line so far is kept.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(failed(&error)),
            }
            let message = serde_json::from_slice(&line)
                .map_err(|error| Death::Monitor(format!("its monitor talks nonsense: {error}")))?;
            if wanted(&message) {
                return Ok(message);
            }
            line.clear();
        }
        Err(Death::Monitor("it does not answer".into()))
    }
}

fn frame(command: &str, arguments: &Value) -> Vec<u8> {
    let mut line = json!({ "execute": command, "arguments": arguments }).to_string().into_bytes();
    line.push(b'\n');
    line
}

fn failed(error: &io::Error) -> Death {
    Death::Monitor(format!("its monitor fails: {error}"))
}
