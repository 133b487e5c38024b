//! Runs the host's tools such that none outlives us.

use std::io::{self, BufRead, BufReader, PipeWriter};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::error::Error;
use crate::host::child;

/// How often a running tool is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Starts a tool that the kernel ends together with the calling thread, however that ends. Its messages come in
/// English.
///
/// Ctrl-C reaches it by itself: it stays in our process group.
///
/// # Errors
/// The tool is not there or cannot be started; `package` is what has it.
pub(super) fn spawn(command: &mut Command, package: &'static str) -> Result<Child, Error> {
    command.env("LC_ALL", "C").stdin(Stdio::null());
    child::die_with_us(command, Vec::new());
    command.spawn().map_err(|source| failed(command, package, source))
}

/// Runs a tool to its end; gives its status and what it wrote to standard error. Calls `tick` now and then.
///
/// # Errors
/// The tool cannot be run, or `cancel` was set; then it is dead.
pub(super) fn run(
    command: &mut Command,
    package: &'static str,
    cancel: &AtomicBool,
    tick: impl FnMut(),
) -> Result<(ExitStatus, String), Error> {
    run_and_hear(command, package, cancel, tick, |_| {})
}

/// The same; calls `hear`, on another thread, with each line that it writes to standard error, at once.
pub(super) fn run_and_hear(
    command: &mut Command,
    package: &'static str,
    cancel: &AtomicBool,
    mut tick: impl FnMut(),
    hear: impl FnMut(&str) + Send + 'static,
) -> Result<(ExitStatus, String), Error> {
    let mut child = spawn(command.stdout(Stdio::null()).stderr(Stdio::piped()), package)?;
    let _watcher = Watcher::of(&child);
    let messages = collect_stderr(&mut child, hear);
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|source| failed(command, package, source))? {
            break status;
        }
        if cancel.load(Ordering::Relaxed) {
            end(&mut child);
            return Err(Error::Cancelled);
        }
        tick();
        thread::sleep(pause);
        pause = (pause * 2).min(TICK);
    };
    Ok((status, messages.join().unwrap_or_default()))
}

/// Ends a tool of root's with us. A program that changes its user, as apt does when it is root and looks what its sandbox
/// may read, is rid of what [`spawn`] has asked the kernel for (prctl(2), `PR_SET_PDEATHSIG`).
struct Watcher {
    shell: Child,
    /// The shell waits for its end, which comes with ours.
    _ours: PipeWriter,
}

impl Watcher {
    /// None where there is no need for it. One that does not start costs no more than a process that lives too long.
    fn of(tool: &Child) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            return None;
        }
        let (theirs, ours) = io::pipe().ok()?;
        let mut shell = Command::new("sh");
        shell.args(["-c", "read -r _; kill -KILL \"$1\"", "sh", &tool.id().to_string()]);
        let shell = shell.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        Some(Self { shell, _ours: ours })
    }
}

impl Drop for Watcher {
    /// The tool has ended: its number may be another's by now.
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Reads a child's standard error in a thread of its own, so that a full pipe never stops it; `hear` gets each line.
pub(super) fn collect_stderr(
    child: &mut Child,
    mut hear: impl FnMut(&str) + Send + 'static,
) -> thread::JoinHandle<String> {
    let stderr = child.stderr.take();
    thread::spawn(move || {
        let mut text = String::new();
        let mut lines = stderr.map(BufReader::new);
        let mut line = Vec::new();
        // What came until an error is what there is to show.
        while let Some(Ok(1..)) = lines.as_mut().map(|lines| lines.read_until(b'\n', &mut line)) {
            let said = String::from_utf8_lossy(&line);
            hear(said.trim_end());
            text.push_str(&said);
            line.clear();
        }
        text
    })
}

/// Ends a tool in a friendly way, so that it can end its own children, and waits for it.
pub(super) fn end(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // Not waited for yet, so the number is still its own; if it has ended there is nobody to signal.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM);
    }
    let _ = child.wait();
}

/// The error of a tool that could not be run.
pub(super) fn failed(command: &Command, package: &'static str, source: io::Error) -> Error {
    Error::Tool { tool: command_name(command), package, source }
}

/// The name of a tool, without its directory.
pub(super) fn command_name(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn the_status_and_the_messages_come_back() {
        let never = AtomicBool::new(false);
        let mut command = Command::new("sh");
        let (status, messages) =
            run(command.args(["-c", "echo oops >&2; exit 3"]), "dash", &never, || {}).unwrap();
        assert_eq!((status.code(), messages.as_str()), (Some(3), "oops\n"));
    }

    #[test]
    fn a_missing_tool_is_named_with_its_package() {
        let never = AtomicBool::new(false);
        let error = run(&mut Command::new("/nonexistent/apt-helper"), "apt", &never, || {}).unwrap_err();
        assert_eq!(error.to_string(), "failed to run apt-helper");
        assert!(matches!(error, Error::Tool { package: "apt", .. }), "{error:?}");
    }

    #[test]
    fn cancelling_ends_the_tool() {
        let start = Instant::now();
        let cancel = AtomicBool::new(true);
        let result = run(Command::new("sleep").arg("60"), "coreutils", &cancel, || {});
        assert!(matches!(result, Err(Error::Cancelled)));
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
