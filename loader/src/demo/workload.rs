//! What runs while a program is attached: the user's command, or system calls of our own. All processes are there, and
//! wait, before the program is loaded: so their PIDs are known.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, IoSlice};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use hooklab_types::demo::{self, Actor, Deed, Ended, JOB_VARIABLE, Message, Stimulus};
use nix::sys::signal::{Signal, kill};
use nix::sys::uio::writev;
use nix::unistd::Pid;

use super::forward::{Sender, lines};
use super::helper::{Helper, STIMULATE, WRITER};

/// The argument that makes this program wait for a line, and then become the command that follows.
pub(super) const LAUNCH: &str = "--launch";

/// Directory of the payload in which the command runs.
const WORK: &str = "work";

/// How often each of the two writes; the counts differ, so that they can be told apart without a PID.
const WRITES: [u32; 2] = [3, 2];

/// How long a process of the built-in workload may take for what it is told to do: most take milliseconds.
const STIMULUS_LIMIT: Duration = Duration::from_secs(5);

/// How long the output of a command that has ended may take to end: what it left running may keep it open for ever.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// A workload that waits.
pub(super) enum Workload {
    Command(Launched),
    Stimuli {
        writers: Vec<Helper>,
        /// Makes all other system calls.
        other: Option<(Helper, Vec<Stimulus>)>,
    },
}

/// A command that waits.
pub(super) struct Launched {
    process: Child,
    start: ChildStdin,
}

impl Workload {
    pub(super) fn prepare(workload: &demo::Workload) -> io::Result<Self> {
        let wanted = match workload {
            demo::Workload::Command(words) => return Launched::prepare(words).map(Self::Command),
            demo::Workload::Stimuli(wanted) => wanted,
        };
        let writers = if wanted.contains(&Stimulus::Write) { WRITES.len() } else { 0 };
        let writers = (0..writers).map(|_| Helper::start([WRITER])).collect::<io::Result<_>>()?;
        let others: Vec<Stimulus> =
            wanted.iter().copied().filter(|stimulus| *stimulus != Stimulus::Write).collect();
        let other = match others.is_empty() {
            true => None,
            false => Some((Helper::start([STIMULATE])?, others)),
        };
        Ok(Self::Stimuli { writers, other })
    }

    /// The PID of the first process that writes.
    pub(super) fn writer(&self) -> Option<u32> {
        match self {
            Self::Stimuli { writers, .. } => writers.first().map(Helper::pid),
            Self::Command(_) => None,
        }
    }

    /// The PID of the command.
    pub(super) fn command(&self) -> Option<u32> {
        match self {
            Self::Stimuli { .. } => None,
            Self::Command(command) => Some(command.process.id()),
        }
    }

    /// Runs it to its end, and says how that was.
    pub(super) fn run(self, limit: Duration, sender: &Sender) -> Ended {
        sender.send(Message::Workload { actors: self.actors() });
        let (writers, other) = match self {
            Self::Command(command) => return command.run(limit, sender),
            Self::Stimuli { writers, other } => (writers, other),
        };
        let end = Instant::now() + limit;
        let left = || end.saturating_duration_since(Instant::now()).min(STIMULUS_LIMIT);
        // What is attached may keep them from it: that is no failure of ours.
        let failed = |stimulus: Stimulus, why: &dyn Display| {
            sender.send(Message::Note { text: format!("the workload failed to {}: {why}", stimulus.name()) });
        };
        for (mut writer, count) in writers.into_iter().zip(WRITES) {
            if let Err(error) = writer.tell(&count.to_string(), left()) {
                failed(Stimulus::Write, &error);
            }
        }
        let (mut helper, stimuli) = other.map_or((None, Vec::new()), |(helper, all)| (Some(helper), all));
        for stimulus in stimuli {
            // One that was killed is replaced.
            let Some(mut alive) = helper.take().or_else(|| Helper::start([STIMULATE]).ok()) else { break };
            match alive.tell(stimulus.name(), left()) {
                Ok(answer) => {
                    helper = Some(alive);
                    if !answer.is_empty() {
                        failed(stimulus, &answer);
                    }
                }
                Err(error) => failed(stimulus, &error),
            }
        }
        Ended::Code(0)
    }

    fn actors(&self) -> Vec<Actor> {
        let (writers, other) = match self {
            Self::Command(command) => return vec![Actor { pid: command.process.id(), does: Deed::Runs }],
            Self::Stimuli { writers, other } => (writers, other),
        };
        let writers = writers.iter().zip(WRITES);
        let writers = writers.map(|(writer, count)| Actor { pid: writer.pid(), does: Deed::Writes(count) });
        let other = other
            .iter()
            .map(|(helper, stimuli)| Actor { pid: helper.pid(), does: Deed::Makes(stimuli.clone()) });
        writers.chain(other).collect()
    }
}

impl Launched {
    fn prepare(words: &[String]) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        let directory = super::payload()?.join(WORK);
        fs::create_dir_all(&directory)?;
        command.arg(LAUNCH).args(words).current_dir(directory).process_group(0);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let start = process.stdin.take().ok_or(io::Error::other("a process has no standard input"))?;
        Ok(Self { process, start })
    }

    fn run(self, limit: Duration, sender: &Sender) -> Ended {
        let Self { mut process, start } = self;
        let (done, output_ended) = channel();
        let forward = |stream: Box<dyn io::Read + Send>, is_error| {
            let (sender, done) = (sender.clone(), done.clone());
            thread::spawn(move || {
                lines(stream, |line| sender.send(Message::Command { is_error, line }));
                let _ = done.send(());
            });
        };
        let output =
            process.stdout.take().map(|stream| (Box::new(stream) as Box<dyn io::Read + Send>, false));
        let error = process.stderr.take().map(|stream| (Box::new(stream) as Box<dyn io::Read + Send>, true));
        for (stream, is_error) in output.into_iter().chain(error) {
            forward(stream, is_error);
        }
        if let Err(error) = writev(&start, &[IoSlice::new(b"\n")]) {
            return Ended::Failed(error.to_string());
        }
        drop(start);
        let ended = wait(process, limit);
        for _ in 0..2 {
            let _ = output_ended.recv_timeout(LAST_OUTPUT);
        }
        ended
    }
}

/// Waits for a process, and kills it at its time limit with all that it has started in its group.
fn wait(mut process: Child, limit: Duration) -> Ended {
    let pid = Pid::from_raw(process.id().cast_signed());
    let (sender, status) = channel();
    thread::spawn(move || sender.send(process.wait()));
    let how = |status: io::Result<ExitStatus>| match status {
        Ok(status) => match status.signal() {
            Some(signal) => Ended::Signal(signal),
            None => Ended::Code(status.code().unwrap_or_default()),
        },
        Err(error) => Ended::Failed(error.to_string()),
    };
    match status.recv_timeout(limit) {
        Ok(status) => how(status),
        Err(RecvTimeoutError::Timeout) => {
            let _ = kill(Pid::from_raw(-pid.as_raw()), Signal::SIGKILL);
            let _ = status.recv_timeout(LAST_OUTPUT);
            Ended::TimedOut
        }
        Err(RecvTimeoutError::Disconnected) => Ended::Failed("the thread that waits panicked".into()),
    }
}

/// Waits for a line on standard input, and becomes the command; without the line, ends.
pub(super) fn launch(mut words: impl Iterator<Item = OsString>) -> io::Result<()> {
    let mut line = String::new();
    if io::stdin().read_line(&mut line)? == 0 {
        return Ok(());
    }
    let program = words.next().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(&program);
    command.args(words).stdin(fs::File::open("/dev/null")?).env_remove(JOB_VARIABLE);
    let error = command.exec();
    let text = format!("failed to run {}: {error}\n", program.display());
    writev(io::stderr(), &[IoSlice::new(text.as_bytes())])?;
    // As shells have it: the command was not found, or could not be run.
    std::process::exit(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}
