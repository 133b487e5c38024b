//! `hooklab-loader run`: attach, stay, detach.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::AsFd as _;
use std::path::Path;

use hooklab_types::loader::{Attached, Line, Program};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::cost;
use crate::trace::TracePipe;
use crate::{
    Assignment, AttachedProgram, Attachment, Error, Global, Job, Loader, Object, Place, Setting, output,
    preflight,
};

/// The variable that `--pid-filter` sets.
const FILTER: &str = "pid_filter";
/// The longest wait for new trace lines before `trace_pipe` is read regardless, in milliseconds. The kernel notifies
/// a reader a moment after a line is there; this bounds the cost of a lost notification.
const TRACE_INTERVAL: u16 = 500;

/// What the command line asks for.
pub struct Options<'a> {
    /// The loader.
    pub loader: &'a dyn Loader,
    /// The object's path.
    pub object: &'a Path,
    /// The only process whose calls the program prints.
    pub pid_filter: Option<NonZeroU32>,
    /// The globals to set.
    pub set: Vec<Assignment>,
    /// Whether to print the programs' own lines.
    pub trace: bool,
    /// The struct as which records are decoded.
    pub event: Option<&'a str>,
    /// Whether to print maps at the end.
    pub maps: bool,
    /// Whether to print all lines as JSON.
    pub json: bool,
    /// Whether a program that cannot be attached is an error while others can.
    pub strict: bool,
    /// Where programs go whose sections do not say it.
    pub place: Place,
}

/// Attaches all programs of the object and detaches them when standard input ends or a signal arrives.
///
/// # Errors
///
/// Any [`Error`]; nothing stays attached.
pub fn run(options: &Options<'_>) -> Result<(), Error> {
    let object = Object::read(options.object)?;
    let global = options.pid_filter.map(|_| find_filter(&object)).transpose()?;
    options.loader.sets().iter().try_for_each(|setting| check_setting(&object, setting))?;
    preflight::check_capabilities()?;
    let tracefs = preflight::find_tracefs()?;
    preflight::check_attach_points(&tracefs, object.programs())?;
    preflight::lift_memory_limit();

    // From here on signals are pending until they are read, so that none can interrupt an attachment halfway.
    let signals = block_signals()?;
    let open_trace = || TracePipe::open(&tracefs).map_err(trace_error);
    let mut trace = options.trace.then(open_trace).transpose()?;
    let job = Job { object: &object, filter: global.as_ref().zip(options.pid_filter) };
    let mut attachment = options.loader.attach(&job)?;
    let programs = attachment.programs().iter();
    let line = Attached {
        loader: options.loader.kind(),
        object: options.object.to_string_lossy().into_owned(),
        programs: programs.map(live).collect(),
        not_attached: Vec::new(),
    };
    let followed = announce(line).and_then(|()| follow(&signals, trace.as_mut(), attachment.as_mut()));
    attachment.detach()?;
    followed?;
    print_trace(trace.as_mut())
}

/// Describes a program for the line of JSON.
fn live(AttachedProgram { name, attach, id }: &AttachedProgram) -> Program {
    Program { name: name.clone(), attach: attach.clone(), id: *id, cost: cost::of(*id) }
}

/// Finds the variable of the filter, and refuses one that would filter nothing.
fn find_filter(object: &Object) -> Result<Global, Error> {
    let path = || object.path().to_owned();
    let suits = |global: &Global| global.size == 4;
    match object.global(FILTER)?.filter(suits) {
        None => Err(Error::NoGlobal { path: path(), name: FILTER }),
        Some(global) if !global.is_read => Err(constant_folded(object, FILTER, "--pid-filter")),
        Some(global) => Ok(global),
    }
}

/// Refuses a global that a loader would set without effect.
fn check_setting(object: &Object, setting: &Setting) -> Result<(), Error> {
    match object.global(&setting.name)? {
        None => Err(Error::NoVariable { path: object.path().to_owned(), name: setting.name.clone() }),
        Some(global) if !global.is_read => Err(constant_folded(object, &setting.name, &setting.flag)),
        Some(_) => Ok(()),
    }
}

fn constant_folded(object: &Object, name: &str, flag: &str) -> Error {
    Error::ConstantFolded { path: object.path().to_owned(), name: name.to_owned(), flag: flag.to_owned() }
}

/// Blocks the signals that end a run, and returns a file descriptor to wait for them.
fn block_signals() -> Result<SignalFd, Error> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    let fd = signals.thread_block().and_then(|()| SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC));
    fd.map_err(|error| Error::System { what: "block signals", source: error.into() })
}

fn announce(line: Attached) -> Result<(), Error> {
    let mut text = serde_json::to_vec(&Line::Attached(line))
        .map_err(|error| Error::System { what: "describe the attached programs", source: error.into() })?;
    text.push(b'\n');
    print(&text)
}

/// Waits for the end of the run, and prints trace lines until then.
fn follow(
    signals: &SignalFd,
    mut trace: Option<&mut TracePipe>,
    attachment: &mut dyn Attachment,
) -> Result<(), Error> {
    let stdin = io::stdin();
    loop {
        let mut files = vec![
            PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        let mut timeout = PollTimeout::NONE;
        if let Some(trace) = trace.as_deref() {
            files.push(PollFd::new(trace.as_fd(), PollFlags::POLLIN));
            timeout = TRACE_INTERVAL.into();
        }
        let events = attachment.events().map(|events| PollFd::new(events, PollFlags::POLLIN));
        let has_events = events.is_some();
        files.extend(events);
        match poll(&mut files, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(Error::System { what: "wait", source: error.into() }),
        }
        let ready: Vec<bool> = files.iter().map(|file| file.any() == Some(true)).collect();
        print_trace(trace.as_deref_mut())?;
        if ready[1] || (ready[0] && stdin_ended()) {
            return Ok(());
        }
        if has_events && ready.last() == Some(&true) {
            attachment.handle_events()?;
        }
    }
}

/// Reads and ignores what is on standard input; only its end matters.
fn stdin_ended() -> bool {
    let mut ignored = [0; 512];
    !matches!(nix::unistd::read(io::stdin(), &mut ignored), Ok(1..) | Err(Errno::EINTR | Errno::EAGAIN))
}

fn print_trace(trace: Option<&mut TracePipe>) -> Result<(), Error> {
    let Some(trace) = trace else { return Ok(()) };
    print(&trace.take().map_err(trace_error)?)
}

fn trace_error(source: io::Error) -> Error {
    Error::System { what: "read trace_pipe", source }
}

/// Prints, and ignores a closed pipe: standard input ends with it.
fn print(text: &[u8]) -> Result<(), Error> {
    match output::print(text) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::System { what: "write to standard output", source })
        }
        _ => Ok(()),
    }
}
