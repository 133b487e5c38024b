//! Processes whose system calls are known; see `tests/actor/main.rs`.

use std::io::{BufRead as _, BufReader, IoSlice};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use hooklab_types::actor::{self, Caller};
use nix::sys::uio::writev;

use super::payload;

/// A running `hooklab-actor`. It ends when it is dropped.
pub(crate) struct Actor {
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Actor {
    pub(crate) fn start() -> Self {
        let mut process = Command::new(payload::path("bin/hooklab-actor"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start hooklab-actor");
        let commands = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, commands, answers }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Has it call `write()` that many times, and returns when it is done.
    pub(crate) fn write(&mut self, count: u32) {
        let caller = self.command(actor::Command::Write(count));
        assert_eq!(
            (caller.pid, caller.tid),
            (self.pid(), self.pid()),
            "the actor is in another PID namespace"
        );
    }

    /// The same from a thread that is not the main one.
    pub(crate) fn write_from_a_thread(&mut self, count: u32) -> Caller {
        self.command(actor::Command::Thread(count))
    }

    /// The same from a forked child.
    pub(crate) fn write_from_a_child(&mut self, count: u32) -> Caller {
        self.command(actor::Command::Fork(count))
    }

    fn command(&mut self, command: actor::Command) -> Caller {
        let line = serde_json::to_vec(&command).expect("a command is JSON");
        let commands = self.commands.as_ref().expect("it is open until the end");
        // By writev(), as everything that a test does while a program is attached.
        writev(commands, &[IoSlice::new(&line), IoSlice::new(b"\n")]).expect("the actor listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the actor answers");
        serde_json::from_str(&answer).expect("the actor did as it was told")
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.process.wait();
    }
}
