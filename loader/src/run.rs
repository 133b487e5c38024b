//! `hooklab-loader run`: attach, stay, detach.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::num::NonZeroU32;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use hooklab_types::loader::{
    Attached, IteratorLine, Line, LoaderKind, NotAttached, Program as Described, TraceLine,
};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::cost;
use crate::events::Events;
use crate::output::Printer;
use crate::trace::TracePipe;
use crate::{
    Assignment, AttachedProgram, Attachment, Attempt, Error, Failure, Global, Job, Loader, Object, Place,
    Program, Setting, Value, globals, preflight,
};

/// The variable that `--pid-filter` sets.
const FILTER: &str = "pid_filter";
/// The longest wait for new trace lines before `trace_pipe` is read regardless, in milliseconds. The kernel notifies
/// a reader a moment after a line is there; this bounds the cost of a lost notification.
const TRACE_INTERVAL: u16 = 500;

/// The longest line of an iterator, in bytes.
const LONGEST_LINE: usize = 16 << 10;

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
    let values = values(options, &object)?;
    options.loader.sets().iter().try_for_each(|setting| check_setting(&object, setting))?;
    preflight::check_capabilities()?;
    let needs_tracefs = options.trace || preflight::needs_tracefs(object.programs());
    let tracefs = needs_tracefs.then(preflight::find_tracefs).transpose()?;
    let mut failures = match &tracefs {
        Some(tracefs) => preflight::missing_tracepoints(tracefs, object.programs())?,
        None => Vec::new(),
    };
    check_failures(options, &object, &mut failures, None)?;
    preflight::lift_memory_limit();

    // From here on signals are pending until they are read, so that none can interrupt an attachment halfway.
    let signals = block_signals()?;
    let open_trace = |tracefs: &PathBuf| TracePipe::open(tracefs).map_err(trace_error);
    let mut trace = tracefs.as_ref().filter(|_| options.trace).map(open_trace).transpose()?;
    let programs = wanted(&object, &failures);
    let filter = values.iter().find(|value| value.global.name == FILTER).map(|value| &value.global);
    let job = Job {
        object: &object,
        programs: &programs,
        filter: filter.zip(options.pid_filter),
        values: &values,
        place: &options.place,
    };
    let Attempt { mut attachment, failures: more } = options.loader.attach(&job)?;
    failures.extend(more);
    if let Err(error) = check_failures(options, &object, &mut failures, Some(attachment.programs().len())) {
        attachment.detach()?;
        return Err(error);
    }
    let printer = Printer { json: options.json };
    let mut run = Run {
        printer,
        signals: &signals,
        trace: trace.as_mut(),
        attachment: attachment.as_mut(),
        events: None,
    };
    let followed = run.go(options, &object, &failures);
    attachment.detach()?;
    followed?;
    print_trace(printer, trace.as_mut())
}

/// Programs that are attached, and what is read meanwhile.
struct Run<'a> {
    printer: Printer,
    signals: &'a SignalFd,
    trace: Option<&'a mut TracePipe>,
    attachment: &'a mut dyn Attachment,
    events: Option<Events>,
}

/// The programs to load: all that are not optional and have not failed already. If all are optional, all.
fn wanted<'a>(object: &'a Object, failures: &[Failure]) -> Vec<&'a Program> {
    let programs = object.programs();
    let all_optional = programs.iter().all(|program| program.hook.is_optional);
    let has_failed = |program: &Program| failures.iter().any(|failure| failure.program == *program);
    programs
        .iter()
        .filter(|program| (all_optional || !program.hook.is_optional) && !has_failed(program))
        .collect()
}

/// Decides whether programs that failed are an error: each is with `--strict`, and by a loader of packages, which gives up by
/// itself; all together are, too. `attached` is how many are attached, as soon as that is known.
fn check_failures(
    options: &Options<'_>,
    object: &Object,
    failures: &mut Vec<Failure>,
    attached: Option<usize>,
) -> Result<(), Error> {
    failures.sort_by_key(|failure| object.programs().iter().position(|program| *program == failure.program));
    let all = match attached {
        Some(attached) => attached == 0,
        None => wanted(object, failures).is_empty(),
    };
    let give_up = options.strict || options.loader.kind().takes_packages();
    if failures.is_empty() || !(all || give_up) {
        return Ok(());
    }
    if failures.len() == 1 || give_up {
        return Err(failures.swap_remove(0).error);
    }
    let reasons = failures.iter().map(|failure| (failure.program.name.clone(), failure.error.reason()));
    Err(Error::NothingAttached { path: object.path().to_owned(), reasons: reasons.collect() })
}

/// The globals to set, each with its bytes.
fn values(options: &Options<'_>, object: &Object) -> Result<Vec<Value>, Error> {
    let filter = options.pid_filter.map(|pid| {
        let bytes = pid.get().to_ne_bytes().to_vec();
        find_filter(object).map(|global| Value { global, bytes })
    });
    let set = options.set.iter().map(|assignment| {
        let value = globals::value(object, assignment)?;
        match value.global.is_read {
            true => Ok(value),
            false => Err(constant_folded(object, &assignment.name, "--set")),
        }
    });
    let values: Vec<Value> = filter.into_iter().chain(set).collect::<Result<_, _>>()?;
    let twice = values
        .iter()
        .enumerate()
        .find(|(at, value)| values[..*at].iter().any(|before| before.global.name == value.global.name));
    match twice {
        Some((_, Value { global, .. })) => {
            let assignment = options.set.iter().rfind(|assignment| assignment.name == global.name);
            let value = assignment.map(|assignment| assignment.value.clone()).unwrap_or_default();
            let reason = "it is set twice".to_owned();
            Err(Error::BadValue { name: global.name.clone(), value, reason })
        }
        None => Ok(values),
    }
}

/// Describes a program for the line of JSON.
fn live(AttachedProgram { name, attach, id }: &AttachedProgram) -> Described {
    Described { name: name.clone(), attach: attach.clone(), id: *id, cost: cost::of(*id) }
}

fn not_live(Failure { program, error }: &Failure) -> NotAttached {
    let (name, section) = (program.name.clone(), program.section.clone());
    NotAttached { name, section, reason: error.reason() }
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

impl Run<'_> {
    /// Says what is attached, and prints what programs send until the run ends.
    fn go(&mut self, options: &Options<'_>, object: &Object, failures: &[Failure]) -> Result<(), Error> {
        // ecli reads them itself, and who reads a record takes it.
        let is_read = options.loader.kind() != LoaderKind::Ecli;
        let programs = self.attachment.programs().iter().filter(|_| is_read);
        let ids: Vec<u32> = programs.map(|program| program.id).collect();
        // Before anybody hears that the programs are attached: what they send until then is lost.
        self.events = Some(Events::open(object, &ids, options.event, options.maps, self.printer)?);
        self.announce(options, object, failures)?;
        self.print_iterators()?;
        self.follow()?;
        let Some(events) = &mut self.events else { return Ok(()) };
        events.read_rest()?;
        let contents = if options.maps { events.contents() } else { Vec::new() };
        contents.into_iter().try_for_each(|contents| self.print(&Line::Map(contents)))
    }

    /// Prints which programs are attached.
    fn announce(&self, options: &Options<'_>, object: &Object, failures: &[Failure]) -> Result<(), Error> {
        let line = Line::Attached(Attached {
            loader: options.loader.kind(),
            object: object.path().to_string_lossy().into_owned(),
            programs: self.attachment.programs().iter().map(live).collect(),
            not_attached: failures.iter().map(not_live).collect(),
        });
        Printer { json: true }.line(&line).map_err(output_error)
    }

    /// Runs the iterators among the programs, and prints what they write.
    fn print_iterators(&self) -> Result<(), Error> {
        for (program, file) in self.attachment.iterators()? {
            // Lines are cut where they are longer than this.
            let mut reader = BufReader::with_capacity(LONGEST_LINE, File::from(file));
            loop {
                let mut line = Vec::new();
                let read = (&mut reader).take(LONGEST_LINE as u64).read_until(b'\n', &mut line);
                match read.map_err(|source| Error::System { what: "read an iterator", source })? {
                    0 => break,
                    _ => {
                        let line = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                        self.print(&Line::Iterator(IteratorLine { program: program.clone(), line }))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn print(&self, line: &Line) -> Result<(), Error> {
        self.printer.line(line).map_err(output_error)
    }

    /// Waits for the end of the run, and prints lines until then.
    fn follow(&mut self) -> Result<(), Error> {
        let stdin = io::stdin();
        loop {
            let mut files = vec![
                PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            let mut timeout = PollTimeout::NONE;
            if let Some(trace) = self.trace.as_deref() {
                files.push(PollFd::new(trace.as_fd(), PollFlags::POLLIN));
                timeout = TRACE_INTERVAL.into();
            }
            let buffers = self.events.as_ref().map(Events::files).unwrap_or_default();
            files.extend(buffers.into_iter().map(|file| PollFd::new(file, PollFlags::POLLIN)));
            let own = self.attachment.events().map(|events| PollFd::new(events, PollFlags::POLLIN));
            let has_own = own.is_some();
            files.extend(own);
            match poll(&mut files, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(Error::System { what: "wait", source: error.into() }),
            }
            let ready: Vec<bool> = files.iter().map(|file| file.any() == Some(true)).collect();
            print_trace(self.printer, self.trace.as_deref_mut())?;
            if let Some(events) = &mut self.events {
                events.read()?;
            }
            if ready[1] || (ready[0] && stdin_ended()) {
                return Ok(());
            }
            if has_own && ready.last() == Some(&true) {
                self.attachment.handle_events()?;
            }
        }
    }
}

/// Reads and ignores what is on standard input; only its end matters.
fn stdin_ended() -> bool {
    let mut ignored = [0; 512];
    !matches!(nix::unistd::read(io::stdin(), &mut ignored), Ok(1..) | Err(Errno::EINTR | Errno::EAGAIN))
}

fn print_trace(printer: Printer, trace: Option<&mut TracePipe>) -> Result<(), Error> {
    let Some(trace) = trace else { return Ok(()) };
    let text = trace.take().map_err(trace_error)?;
    if !printer.json {
        return printer.write(&text).map_err(output_error);
    }
    let mut lines = Vec::new();
    for line in String::from_utf8_lossy(&text).lines().filter(|line| !line.is_empty()) {
        printer.format(&Line::Trace(TraceLine { line: line.to_owned() }), &mut lines);
    }
    printer.write(&lines).map_err(output_error)
}

fn trace_error(source: io::Error) -> Error {
    Error::System { what: "read trace_pipe", source }
}

fn output_error(source: io::Error) -> Error {
    Error::System { what: "write to standard output", source }
}
