//! A run under way, which a test interferes with.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::{Limit, PROMPTLY, TestEnv, target, wait_for};

/// A run under way.
pub(crate) struct Running<'env> {
    env: &'env TestEnv,
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl TestEnv {
    /// Starts `vm-test` with these arguments.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running<'_> {
        self.start_command(&mut self.vm_test_command(arguments))
    }

    /// Starts a command, and reads what it writes to pipes.
    pub(crate) fn start_command(&self, command: &mut Command) -> Running<'_> {
        let mut child = self.spawn(command);
        let output = Arc::default();
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|pipe| read(pipe, &output)));
        readers.extend(child.stderr.take().map(|pipe| read(pipe, &output)));
        Running { env: self, child, output, readers }
    }

    /// Starts `vm-test` with these arguments, whose reader goes away at once.
    pub(crate) fn start_unread(&self, arguments: &[&str]) -> Running<'_> {
        let mut child = self.spawn(&mut self.vm_test_command(arguments));
        drop(child.stdout.take());
        let output = Arc::default();
        let readers = child.stderr.take().map(|pipe| read(pipe, &output)).into_iter().collect();
        Running { env: self, child, output, readers }
    }

    fn spawn(&self, command: &mut Command) -> Child {
        // Whatever is on the console from now on is of this run.
        let _ = fs::remove_file(console());
        let _ = fs::remove_file(self.json());
        command.spawn().unwrap()
    }
}

fn read(mut pipe: impl Read + Send + 'static, output: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut chunk) {
            output.lock().unwrap().extend(&chunk[..length]);
        }
    })
}

/// The console of the machine that runs 6.12.
fn console() -> PathBuf {
    target().join("hooklab/logs/6.12.log")
}

impl Running<'_> {
    /// Its PID.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to xtask, whose process cargo has become.
    pub(crate) fn send(&self, signal: Signal) {
        signal::kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits for an event of this run, which is not to end before it.
    pub(crate) fn until<T>(&mut self, event: &str, mut happens: impl FnMut() -> Option<T>) -> T {
        let (child, readers, output) = (&mut self.child, &self.readers, &self.output);
        let mut has_ended =
            || child.try_wait().unwrap().is_some() && readers.iter().all(JoinHandle::is_finished);
        let looked = || {
            // In this order: it may happen last of all.
            let ended = has_ended();
            let result = happens();
            assert!(
                result.is_some() || !ended,
                "the run ended before {event}; its output:\n{}",
                text(output)
            );
            result
        };
        wait_for(event, Limit::HANG, looked, || text(output))
    }

    /// Waits until it has printed these words.
    pub(crate) fn prints(&mut self, words: &str) {
        let output = Arc::clone(&self.output);
        self.until(&format!("{words:?} in its output"), || text(&output).contains(words).then_some(()));
    }

    /// Waits for a QEMU of it.
    pub(crate) fn machine(&mut self) -> Pid {
        let env = self.env;
        let machine = self.until("a QEMU", || env.machines().first().copied());
        Pid::from_raw(machine.cast_signed())
    }

    /// Waits for words on the console of 6.12.
    pub(crate) fn console_shows(&mut self, words: &str) {
        let shows = || fs::read_to_string(console()).is_ok_and(|console| console.contains(words));
        self.until(&format!("{words:?} on the console"), || shows().then_some(()));
    }

    /// Waits for its end; the exit code, or none if a signal ended it.
    pub(crate) fn ends(&mut self) -> Option<i32> {
        self.ends_within(Limit::HANG)
    }

    /// Waits for its end, which is due after so long at the latest.
    pub(crate) fn ends_promptly_after(&mut self, duration: Duration) -> Option<i32> {
        self.ends_within(Limit::within(duration + PROMPTLY))
    }

    /// Checks that it was not the last resort of a run that does not end, the exit some seconds after a signal, that ended it.
    pub(crate) fn ended_by_itself(&mut self) {
        self.prints("interrupted");
    }

    fn ends_within(&mut self, limit: Limit) -> Option<i32> {
        let (child, output) = (&mut self.child, &self.output);
        wait_for("the end of the run", limit, || child.try_wait().unwrap(), || text(output)).code()
    }
}

fn text(output: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&output.lock().unwrap()).into_owned()
}

impl Drop for Running<'_> {
    /// A test that has failed leaves no run.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
