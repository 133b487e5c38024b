//! What `hooklab run` runs in a guest: one program, one loader, a workload, and what comes of it.
//!
//! The agent runs it as it runs a libtest binary, so it answers as one with a single test. Beside that it prints
//! [`Message`]s, each as a line of JSON, while they happen. The result goes into a file, which is copied back to the host.
//! As soon as the program is attached, nothing here calls `write()` but the two processes whose job it is.

mod forward;
mod helper;
mod stimuli;
mod workload;

use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};
use std::{env, fs};

use hooklab_types::demo::{DIRECTORY, Filter, JOB_VARIABLE, Job, LoadOptions, Message, Shown, TEST};
use hooklab_types::loader::{Attached, Line};

use self::forward::{Forwarder, Sender, lines};
use self::workload::Workload;
use crate::explain;

/// How long the program stays attached after the workload: some events come a moment after what causes them.
const SETTLE: Duration = Duration::from_millis(200);

/// Longest message of the loader on standard error, in bytes: the verifier's can have megabytes.
const LONGEST_ERROR: u64 = 64 << 10;

/// Runs the job in the environment and prints its result as libtest does; with a flag, does a part of the workload.
pub fn main() -> ExitCode {
    if explain::is_asked_for() {
        return explain::main();
    }
    let mut arguments = env::args_os().skip(1);
    // A part prints nothing on standard error: that would be a write().
    let part = match arguments.next().as_deref().and_then(|flag| flag.to_str()) {
        Some(helper::WRITER) => helper::write(),
        Some(helper::STIMULATE) => stimuli::serve(),
        Some(workload::LAUNCH) => workload::launch(arguments),
        Some(stimuli::NOTHING) => Ok(()),
        _ => return test(),
    };
    if part.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn test() -> ExitCode {
    println!("\nrunning 1 test");
    match show() {
        Ok(()) => {
            println!("test {TEST} ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("test {TEST} ... {error}\nFAILED\n\nfailures:\n    {TEST}\n");
            println!("test result: FAILED. 0 passed; 1 failed; 0 ignored");
            ExitCode::from(101)
        }
    }
}

fn show() -> io::Result<()> {
    let job = env::var(JOB_VARIABLE).map_err(io::Error::other)?;
    let job: Job = serde_json::from_str(&job)?;
    let forwarder = Forwarder::start();
    let shown = run(&job, &forwarder.sender());
    forwarder.finish()?;
    let directory = payload()?.join(DIRECTORY);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("shown.json"), serde_json::to_vec(&shown?)?)
}

fn run(job: &Job, sender: &Sender) -> io::Result<Shown> {
    let workload = Workload::prepare(&job.workload)?;
    let mut loader = Loader::start(job, &workload, sender)?;
    let attached = loader.attached(sender);
    let ended = attached.is_some().then(|| {
        let begin = Instant::now();
        let ended = workload.run(Duration::from_millis(job.timeout_ms), sender);
        sleep(Duration::from_millis(job.duration_ms).saturating_sub(begin.elapsed()).max(SETTLE));
        ended
    });
    let (code, error) = loader.stop()?;
    Ok(Shown { code, attached, workload: ended, error })
}

/// The loader, at work.
struct Loader {
    process: Child,
    /// Gets the first line that it prints.
    first: Receiver<String>,
    output: JoinHandle<()>,
    error: JoinHandle<String>,
}

impl Loader {
    fn start(job: &Job, workload: &Workload, sender: &Sender) -> io::Result<Self> {
        let mut command = command(job, workload)?;
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (Some(output), Some(errors)) = (process.stdout.take(), process.stderr.take()) else {
            return Err(io::Error::other("the loader has no standard output"));
        };
        let (first_sender, first) = sync_channel(1);
        let sender = sender.clone();
        let output = thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = String::new();
            if output.read_line(&mut line).is_ok() && first_sender.send(line).is_ok() {
                lines(output, |line| sender.send(Message::Loader { line }));
            }
        });
        let error = thread::spawn(move || {
            let mut error = Vec::new();
            let mut errors = errors;
            let _ = errors.by_ref().take(LONGEST_ERROR).read_to_end(&mut error);
            // Whatever else it says must not keep it waiting.
            let _ = io::copy(&mut errors, &mut io::sink());
            String::from_utf8_lossy(&error).into_owned()
        });
        Ok(Self { process, first, output, error })
    }

    /// Waits until it has attached something, or failed to.
    fn attached(&mut self, sender: &Sender) -> Option<Attached> {
        let line = self.first.recv().ok()?;
        let Ok(Line::Attached(attached)) = serde_json::from_str(&line) else { return None };
        sender.send(Message::Loader { line: line.trim_end().to_owned() });
        Some(attached)
    }

    /// The end of its input tells the loader to print what is left and detach. Its exit code, and what it said.
    fn stop(mut self) -> io::Result<(Option<i32>, String)> {
        drop(self.process.stdin.take());
        let code = self.process.wait()?.code();
        // A thread that panicked has nothing to say.
        let _ = self.output.join();
        Ok((code, self.error.join().unwrap_or_default()))
    }
}

/// Builds the loader's command line.
fn command(job: &Job, workload: &Workload) -> io::Result<Command> {
    let payload = payload()?;
    let mut command = Command::new(payload.join("bin/hooklab-loader"));
    command.current_dir(payload.join("objects"));
    command.args(["run", "--trace", "--format", "json", "--loader", job.loader.name()]);
    command.args(flags(&job.options)).arg(&job.program);
    let pid = match job.filter {
        None => return Ok(command),
        Some(Filter::Pid(pid)) => Some(pid.to_string()),
        Some(Filter::Writer) => workload.writer().map(|pid| pid.to_string()),
        Some(Filter::Command) => workload.command().map(|pid| pid.to_string()),
    };
    let pid = pid.ok_or(io::Error::other("the workload has no process whose PID could be the filter"))?;
    command.args([job.loader.filter_flag(), &pid]);
    Ok(command)
}

fn flags(options: &LoadOptions) -> Vec<String> {
    let LoadOptions { interface, cgroup, path, set, event, maps, strict } = options;
    let mut flags = Vec::new();
    let given = [("interface", interface), ("cgroup", cgroup), ("path", path), ("event", event)];
    let given = given.into_iter().filter_map(|(flag, value)| Some((flag, value.as_ref()?)));
    let given = given.chain(set.iter().map(|value| ("set", value)));
    flags.extend(given.map(|(flag, value)| format!("--{flag}={value}")));
    let switches = [("maps", maps), ("strict", strict)].into_iter().filter(|(_, on)| **on);
    flags.extend(switches.map(|(flag, _)| format!("--{flag}")));
    flags
}

fn payload() -> io::Result<PathBuf> {
    let payload = env::var_os("HOOKLAB_PAYLOAD").ok_or(io::Error::other("HOOKLAB_PAYLOAD is not set"))?;
    Ok(Path::new(&payload).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_the_loaders_flags() {
        let options = LoadOptions {
            interface: Some("lo".into()),
            set: vec!["a=1".into(), "b=-2".into()],
            maps: true,
            ..LoadOptions::default()
        };
        assert_eq!(flags(&options), ["--interface=lo", "--set=a=1", "--set=b=-2", "--maps"]);
        assert!(flags(&LoadOptions::default()).is_empty());
    }
}
