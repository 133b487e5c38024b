//! What `hooklab run` runs in a guest: one program, one loader, two processes that write, and the resulting trace.
//!
//! The agent runs it as it runs a libtest binary, so it answers as one with a single test. The result goes into a
//! file, which is copied back to the host.

use std::io::{self, BufRead as _, BufReader, IoSlice, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::{env, fs};

use hooklab_types::demo::{Actor, DIRECTORY, Filter, JOB_VARIABLE, Job, Shown, TEST};
use nix::sys::uio::writev;

use crate::explain;

/// How often each of the two writes; the counts differ, so that they can be told apart without a PID.
const WRITES: [u32; 2] = [3, 2];

/// The argument that makes this program one of the two writers.
const WRITER: &str = "--writer";

/// Runs the job in the environment and prints its result as libtest does; with `--writer`, writes.
pub fn main() -> ExitCode {
    if explain::is_asked_for() {
        return explain::main();
    }
    if env::args().nth(1).as_deref() == Some(WRITER) {
        // Print nothing on standard error: that would be a write().
        return if serve().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
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
    let mut writers = [Writer::start()?, Writer::start()?];
    let pids = [writers[0].process.id(), writers[1].process.id()];
    let mut command = command(&job, pids[0])?;
    let mut loader = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (Some(output), Some(mut errors)) = (loader.stdout.take(), loader.stderr.take()) else {
        return Err(io::Error::other("the loader has no standard output"));
    };
    let mut output = BufReader::new(output);
    let mut attached = String::new();
    output.read_line(&mut attached)?;
    if !attached.is_empty() {
        for (writer, count) in writers.iter_mut().zip(WRITES) {
            writer.write(count)?;
        }
    }
    // The end of its input tells the loader to print the rest of the trace and detach.
    drop(loader.stdin.take());
    let (mut trace, mut error) = (String::new(), String::new());
    output.read_to_string(&mut trace)?;
    errors.read_to_string(&mut error)?;
    let actors = pids.into_iter().zip(WRITES).map(|(pid, writes)| Actor { pid, writes }).collect();
    let attached = serde_json::from_str(&attached).ok();
    let shown = Shown { code: loader.wait()?.code(), attached, actors, trace, error };
    let directory = payload()?.join(DIRECTORY);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("shown.json"), serde_json::to_vec(&shown)?)
}

/// Builds the loader's command line; `writer` is the PID of [`Filter::Writer`].
fn command(job: &Job, writer: u32) -> io::Result<Command> {
    let payload = payload()?;
    let mut command = Command::new(payload.join("bin/hooklab-loader"));
    command.current_dir(payload.join("objects"));
    command.args(["run", "--trace", "--loader", job.loader.name(), &job.program]);
    let pid = match job.filter {
        None => return Ok(command),
        Some(Filter::Writer) => writer.to_string(),
        Some(Filter::Pid(pid)) => pid.to_string(),
    };
    command.args([job.loader.filter_flag(), &pid]);
    Ok(command)
}

fn payload() -> io::Result<PathBuf> {
    let payload = env::var_os("HOOKLAB_PAYLOAD").ok_or(io::Error::other("HOOKLAB_PAYLOAD is not set"))?;
    Ok(Path::new(&payload).to_owned())
}

/// This program in another process, whose calls of `write()` are all known.
struct Writer {
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Writer {
    fn start() -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        let mut process = command.arg(WRITER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let commands = process.stdin.take();
        let answers = process.stdout.take().ok_or(io::Error::other("a writer has no standard output"))?;
        Ok(Self { process, commands, answers: BufReader::new(answers) })
    }

    /// Makes it call `write()` that many times, and waits until it has.
    fn write(&mut self, count: u32) -> io::Result<()> {
        let commands = self.commands.as_ref().ok_or(io::Error::other("a writer has no standard input"))?;
        // By writev(), like everything that is written while a program is attached.
        writev(commands, &[IoSlice::new(format!("{count}\n").as_bytes())])?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        if answer.is_empty() { Err(io::Error::other("a writer could not write")) } else { Ok(()) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.process.wait();
    }
}

/// Reads a number from each line of standard input, writes as often, and answers with an empty line.
fn serve() -> io::Result<()> {
    let sink = fs::OpenOptions::new().write(true).open("/dev/null")?;
    for line in io::stdin().lock().lines() {
        let count: u32 = line?.parse().map_err(io::Error::other)?;
        for _ in 0..count {
            nix::unistd::write(&sink, b".")?;
        }
        writev(io::stdout(), &[IoSlice::new(b"\n")])?;
    }
    Ok(())
}
