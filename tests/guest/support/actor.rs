//! Processes whose system calls are known; see `tests/actor/main.rs`.

use std::io::{BufRead as _, BufReader, IoSlice};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::uio::writev;

use super::payload;

/// A running `hooklab-actor`. It ends when it is dropped.
pub(crate) struct Actor {
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// Who made some calls.
pub(crate) struct Caller {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
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
        let caller = self.command("write", count);
        assert_eq!(
            (caller.pid, caller.tid),
            (self.pid(), self.pid()),
            "the actor is in another PID namespace"
        );
    }

    /// The same from a thread that is not the main one.
    pub(crate) fn write_from_a_thread(&mut self, count: u32) -> Caller {
        self.command("thread", count)
    }

    /// The same from a forked child.
    pub(crate) fn write_from_a_child(&mut self, count: u32) -> Caller {
        self.command("fork", count)
    }

    fn command(&mut self, verb: &str, count: u32) -> Caller {
        let line = format!("{verb} {count}\n");
        let commands = self.commands.as_ref().expect("it is open until the end");
        // By writev(), as everything that a test does while a program is attached.
        writev(commands, &[IoSlice::new(line.as_bytes())]).expect("the actor listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the actor answers");
        let (pid, tid) = answer.trim_end().split_once(' ').expect("the actor did as it was told");
        let number = |text: &str| text.parse().expect("the actor answers in numbers");
        Caller { pid: number(pid), tid: number(tid) }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.process.wait();
    }
}
