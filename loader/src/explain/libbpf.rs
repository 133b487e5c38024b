//! Tries the programs of an object with libbpf.
//!
//! First all at once: what loads so loads alone. Where that fails, each program alone, in an object opened anew, so that one
//! that is refused does not hide the others; and those that are refused once more, for the verifier's log.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::time::Duration;

use hooklab_types::explain::{
    Cause, CauseClass, Explained, Map, ObjectAnswer, ObjectDetails, ProgramAnswer, Verdict,
};
use hooklab_types::loader::Cost;
use libbpf_rs::{AsRawLibbpf as _, MapCore as _, Object, ObjectBuilder, OpenObject, ProgramMut, libbpf_sys};
use nix::errno::Errno;

use super::classify::{self, Failure, Step, Subject};
use super::{Findings, kernel, lines, log, probe, statistics};
use crate::loaders::libbpf_messages as messages;

/// Levels of the verifier's log, from the kernel's `include/linux/bpf_verifier.h`: all instructions; statistics alone.
const LOG_INSTRUCTIONS: u32 = 1;
const LOG_STATISTICS: u32 = 4;

/// Room for statistics and errors, and for a whole log. Kernels before 5.1 take no more than 16 MiB.
const SHORT_LOG: usize = 64 << 10;
const LONG_LOG: usize = 8 << 20;

/// The most bytes of a log that are kept: its beginning and its end.
const KEPT_LOG: usize = 256 << 10;

/// Tries every program of the object; `path` is where its name is from.
pub(super) fn explain(bytes: &[u8], path: &Path, attach: bool) -> Findings {
    messages::keep();
    let source = Source { bytes, name: path.file_name().unwrap_or_default().to_string_lossy().into_owned() };
    let Described { subjects, mut details, map_kinds } = match source.describe() {
        Ok(described) => described,
        Err(failure) => {
            let cause = Some(failure.cause(Step::Open, None, &[]));
            let object = ObjectAnswer { programs: 0, cause, details: ObjectDetails::default() };
            return Findings { object, programs: Vec::new() };
        }
    };
    let everything =
        if subjects.len() > 1 { source.load(None, LOG_STATISTICS, SHORT_LOG).ok() } else { None };
    let programs: Vec<ProgramAnswer> = match &everything {
        Some(loaded) => {
            details.maps = loaded.maps();
            let answer = |(place, subject)| loaded.answer(place, subject, attach);
            subjects.iter().enumerate().map(answer).collect()
        }
        None => {
            let alone = |(place, subject)| source.try_alone(place, subject, attach, &map_kinds, &mut details);
            subjects.iter().enumerate().map(alone).collect()
        }
    };
    Findings { object: ObjectAnswer { programs: programs.len(), cause: None, details }, programs }
}

/// An object in memory.
struct Source<'a> {
    bytes: &'a [u8],
    name: String,
}

/// An object before it is loaded.
struct Described {
    subjects: Vec<Subject>,
    details: ObjectDetails,
    /// The numbers of the map types, by the maps' names.
    map_kinds: Vec<(String, u32)>,
}

/// An object in the kernel.
struct Loaded {
    object: Object,
    /// The verifier's logs, in the order of the programs. libbpf has pointers to them while the object is there.
    logs: Vec<Vec<u8>>,
    /// When it was loaded.
    end: Duration,
}

/// libbpf gave up.
struct Refused {
    errno: i32,
    messages: String,
    logs: Vec<Vec<u8>>,
    /// The line of the source that the last instruction in the log of the one program is from.
    source: Option<String>,
}

impl Source<'_> {
    fn open(&self) -> Result<OpenObject, Refused> {
        messages::take();
        let mut builder = ObjectBuilder::default();
        let name = self.name.trim_end_matches(".o").trim_end_matches(".bpf");
        let opened = builder.name(name).and_then(|builder| builder.open_memory(self.bytes));
        opened.map_err(|error| {
            let messages = messages::take();
            // libbpf says why; where it does not, its wrapper does.
            let messages = if messages.is_empty() { format!("{error:#}\n") } else { messages };
            Refused {
                errno: io::Error::last_os_error().raw_os_error().unwrap_or(0),
                messages,
                logs: Vec::new(),
                source: None,
            }
        })
    }

    /// The programs, and what the object has besides.
    fn describe(&self) -> Result<Described, Refused> {
        let object = self.open()?;
        let subjects = object.progs().map(|program| Subject {
            name: program.name().to_string_lossy().into_owned(),
            section: program.section().to_string_lossy().into_owned(),
            kind: program.prog_type() as u32,
            kind_name: text(|| {
                // SAFETY: the function takes any number, and answers with a static string or NULL.
                unsafe { libbpf_sys::libbpf_bpf_prog_type_str(program.prog_type() as u32) }
            })
            .filter(|name| name != "unspec"),
        });
        let subjects = subjects.collect();
        let maps = object.maps().map(|map| Map {
            name: map.name().to_string_lossy().into_owned(),
            kind: map_kind(map.map_type() as u32),
            key_size: map.key_size(),
            value_size: map.value_size(),
            max_entries: map.max_entries(),
            bytes: None,
        });
        let details = ObjectDetails { maps: maps.collect(), unread_globals: Vec::new() };
        let kind =
            |map: libbpf_rs::OpenMap<'_>| (map.name().to_string_lossy().into_owned(), map.map_type() as u32);
        let map_kinds = object.maps().map(kind).collect();
        Ok(Described { subjects, details, map_kinds })
    }

    /// Loads one program, by its place, or all, with a log of so many bytes for each.
    fn load(&self, only: Option<usize>, level: u32, room: usize) -> Result<Loaded, Refused> {
        let mut object = self.open()?;
        let mut logs = Vec::new();
        for (place, mut program) in object.progs_mut().enumerate() {
            let is_wanted = only.is_none_or(|only| only == place);
            program.set_autoload(is_wanted);
            let mut log = vec![0_u8; if is_wanted { room } else { 0 }];
            if is_wanted {
                program.set_log_level(level);
                // SAFETY: the program is alive, and the buffer outlives it: moving the vector does not move its bytes, and
                // whoever gets the object gets the logs, and drops them after it.
                unsafe {
                    libbpf_sys::bpf_program__set_log_buf(
                        program.as_libbpf_object().as_ptr(),
                        log.as_mut_ptr().cast(),
                        log.len() as libbpf_sys::size_t,
                    );
                }
            }
            logs.push(log);
        }
        // SAFETY: the object is open, and stays ours.
        let status = unsafe { libbpf_sys::bpf_object__load(object.as_libbpf_object().as_ptr()) };
        if status != 0 {
            let last =
                only.and_then(|place| Some((place, log::last_instruction(&until_nul(logs.get(place)?))?)));
            let source =
                last.and_then(|(place, instruction)| lines::of_instruction(&object, place, instruction));
            drop(object);
            return Err(Refused { errno: -status, messages: messages::take(), logs, source });
        }
        // SAFETY: it is loaded, and nobody else has the pointer.
        let object = unsafe { Object::from_ptr(object.take_ptr()) };
        Ok(Loaded { object, logs, end: kernel::now() })
    }

    /// The line of the source that an instruction of a program is from.
    fn line(&self, place: usize, instruction: u32) -> Option<String> {
        let mut object = self.open().ok()?;
        for (other, mut program) in object.progs_mut().enumerate() {
            program.set_autoload(other == place);
        }
        // libbpf puts the program together, and forgets its lines when the kernel refuses it.
        // SAFETY: the object is open, and stays ours.
        let status = unsafe { libbpf_sys::bpf_object__prepare(object.as_libbpf_object().as_ptr()) };
        (status == 0).then(|| lines::of_instruction(&object, place, instruction)).flatten()
    }

    /// Loads one program alone; if that fails, once more for its log.
    fn try_alone(
        &self,
        place: usize,
        subject: &Subject,
        attach: bool,
        map_kinds: &[(String, u32)],
        details: &mut ObjectDetails,
    ) -> ProgramAnswer {
        let refused = match self.load(Some(place), LOG_STATISTICS, SHORT_LOG) {
            // Too little room for a log makes the kernel refuse what it would take: without one it is true to itself.
            Err(refused) if refused.errno == Errno::ENOSPC as i32 => self.load(Some(place), 0, LONG_LOG),
            other => other,
        };
        let mut refused = match refused {
            Ok(loaded) => {
                details.maps = loaded.maps();
                return loaded.answer(place, subject, attach);
            }
            Err(refused) => refused,
        };
        let mut whole = String::new();
        let error = log::parse(&refused.log(place)).text;
        if classify::wants_instructions(error.as_deref())
            && let Err(again) = self.load(Some(place), LOG_INSTRUCTIONS | LOG_STATISTICS, LONG_LOG)
        {
            whole = again.log(place);
            refused.messages = again.messages;
            let instruction = log::last_instruction(&whole);
            refused.source = instruction.and_then(|instruction| self.line(place, instruction));
        }
        let cause = refused.cause(Step::Load, Some((subject, place, &whole)), map_kinds);
        let short = refused.log(place);
        let log = match whole.is_empty() || classify::is_complete(&whole, error.as_deref()) {
            true if !whole.is_empty() => whole,
            true => short,
            false => format!("{whole}\n[the kernel gave no more of it]\n{short}"),
        };
        let explained = Explained {
            section: subject.section.clone(),
            kind: subject.kind_name.clone(),
            verdict: Verdict::Refused,
            cause: Some(cause),
            seconds: None,
            log: Some(shortened(&log)).filter(|log| !log.is_empty()),
        };
        ProgramAnswer { name: subject.name.clone(), cost: Cost::default(), explained }
    }
}

impl Refused {
    /// The log of a program.
    fn log(&self, place: usize) -> String {
        self.logs.get(place).map(|log| until_nul(log)).unwrap_or_default()
    }

    /// Why; `of` is the program alone, its place and its whole log, if the kernel gave one.
    fn cause(&self, step: Step, of: Option<(&Subject, usize, &str)>, map_kinds: &[(String, u32)]) -> Cause {
        let short = of.map(|(_, place, _)| self.log(place)).unwrap_or_default();
        let (subject, whole) = of.map(|(subject, _, whole)| (subject, whole)).unzip();
        let failed = classify::failed_map(&self.messages);
        let map = failed.and_then(|failed| map_kinds.iter().find(|(name, _)| name == failed));
        let support = probe::support(subject, map.map(|(_, kind)| *kind));
        classify::classify(&Failure {
            step,
            errno: self.errno,
            messages: &self.messages,
            short_log: &short,
            whole_log: whole.unwrap_or_default(),
            source: self.source.as_deref(),
            subject,
            support,
        })
    }
}

impl Loaded {
    /// The maps, with what they take.
    fn maps(&self) -> Vec<Map> {
        let maps = self.object.maps().map(|map| Map {
            name: map.name().to_string_lossy().into_owned(),
            kind: map_kind(map.map_type() as u32),
            key_size: map.key_size(),
            value_size: map.value_size(),
            max_entries: map.max_entries(),
            bytes: kernel::map_bytes(map.as_fd()),
        });
        maps.collect()
    }

    /// How far a program came, and what it cost.
    fn answer(&self, place: usize, subject: &Subject, attach: bool) -> ProgramAnswer {
        let mut explained = Explained {
            section: subject.section.clone(),
            kind: subject.kind_name.clone(),
            verdict: Verdict::NotTried,
            cause: None,
            seconds: None,
            log: None,
        };
        let name = subject.name.clone();
        let program = self.object.progs_mut().nth(place).filter(|program| program.name() == name.as_str());
        let info = program.as_ref().and_then(|program| info(program));
        let (Some(program), Some(info)) = (program, info) else {
            let text = "libbpf left it out when it loaded the object".to_owned();
            explained.cause = Some(Cause { class: CauseClass::Other, text, source: None, instruction: None });
            return ProgramAnswer { name, cost: Cost::default(), explained };
        };
        let statistics =
            statistics::parse(&self.logs.get(place).map(|log| until_nul(log)).unwrap_or_default());
        let cost = Cost {
            verified_instructions: info.verified_instructions.or(statistics.instructions),
            jited_bytes: info.jited_bytes,
            peak_states: statistics.peak_states,
            stack_depth: statistics.stack_depth,
        };
        let until = self.start_after(info.load_time).unwrap_or(self.end);
        explained.seconds = Some(until.saturating_sub(info.load_time).as_secs_f64());
        (explained.verdict, explained.cause) = match attach.then(|| try_attach(&program, subject)).flatten() {
            None => (Verdict::Loaded, None),
            Some(Ok(())) => (Verdict::Attached, None),
            Some(Err(cause)) => (Verdict::NotAttached, Some(cause)),
        };
        if subject.is_lsm() && kernel::lsm_is_active() == Some(false) && explained.cause.is_none() {
            explained.cause = Some(classify::inactive_lsm());
            if explained.verdict == Verdict::Attached {
                explained.verdict = Verdict::NotAttached;
            }
        }
        ProgramAnswer { name, cost, explained }
    }

    /// When the kernel began to load the next program.
    fn start_after(&self, start: Duration) -> Option<Duration> {
        let programs = self.object.progs_mut().filter_map(|program| info(&program));
        programs.map(|info| info.load_time).filter(|other| *other > start).min()
    }
}

/// What the kernel says of a program of a loaded object; none if it was not loaded.
fn info(program: &ProgramMut<'_>) -> Option<kernel::ProgramInfo> {
    // SAFETY: the program is alive.
    let fd = unsafe { libbpf_sys::bpf_program__fd(program.as_libbpf_object().as_ptr()) };
    if fd < 0 {
        return None;
    }
    // SAFETY: libbpf has this descriptor open as long as the object is there.
    kernel::program(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Attaches a program and detaches it again; none if libbpf does not attach its kind by itself.
fn try_attach(program: &ProgramMut<'_>, subject: &Subject) -> Option<Result<(), Cause>> {
    messages::take();
    // SAFETY: the program is alive, and loaded.
    let link = unsafe { libbpf_sys::bpf_program__attach(program.as_libbpf_object().as_ptr()) };
    if let Some(link) = NonNull::new(link) {
        // SAFETY: the link is ours, and not used any more.
        unsafe { libbpf_sys::bpf_link__destroy(link.as_ptr()) };
        return Some(Ok(()));
    }
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    let messages = messages::take();
    if errno == Errno::EOPNOTSUPP as i32 && messages.is_empty() {
        return None;
    }
    Some(Err(classify::classify(&Failure {
        step: Step::Attach,
        errno,
        messages: &messages,
        short_log: "",
        whole_log: "",
        source: None,
        subject: Some(subject),
        support: probe::Support::default(),
    })))
}

/// The name of a map type, as libbpf has it.
fn map_kind(kind: u32) -> String {
    // SAFETY: the function takes any number, and answers with a static string or NULL.
    text(|| unsafe { libbpf_sys::libbpf_bpf_map_type_str(kind) }).unwrap_or_else(|| format!("type {kind}"))
}

/// A static string of libbpf's.
fn text(name: impl FnOnce() -> *const std::ffi::c_char) -> Option<String> {
    let name = name();
    // SAFETY: libbpf's names are static strings that end in NUL.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

/// The text in a buffer of C's.
fn until_nul(buffer: &[u8]) -> String {
    let end = buffer.iter().position(|byte| *byte == 0).unwrap_or(buffer.len());
    String::from_utf8_lossy(&buffer[..end]).into_owned()
}

/// A log that fits into an answer: its end says most.
fn shortened(log: &str) -> String {
    if log.len() <= KEPT_LOG {
        return log.to_owned();
    }
    let head = &log[..log.floor_char_boundary(KEPT_LOG / 8)];
    let tail = &log[log.ceil_char_boundary(log.len() - KEPT_LOG / 8 * 7)..];
    let left_out = log.len() - head.len() - tail.len();
    format!("{head}\n[{left_out} bytes left out]\n{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_the_beginning_and_the_end_are_kept() {
        let log = format!("first\n{}\nlast", "é".repeat(KEPT_LOG));
        let kept = shortened(&log);
        assert!(
            kept.starts_with("first\n") && kept.ends_with("\nlast") && kept.len() < KEPT_LOG + 100,
            "{}",
            kept.len()
        );
        assert!(kept.contains(" bytes left out]\n"));
        assert_eq!(shortened("short"), "short");
    }

    #[test]
    fn an_object_that_libbpf_does_not_open_has_a_cause_and_no_programs() {
        let findings = explain(b"\x7fELF no more", Path::new("objects/0.o"), false);
        assert!(findings.programs.is_empty());
        let cause = findings.object.cause.unwrap();
        assert_eq!(cause.class, CauseClass::Other);
        assert!(!cause.text.is_empty());
    }
}
