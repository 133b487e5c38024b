//! An object that libbpf has loaded: what its programs cost, and whether they attach.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::ptr::NonNull;
use std::time::Duration;

use hooklab_types::explain::{Cause, CauseClass, Explained, Map, ProgramAnswer, Verdict};
use hooklab_types::loader::Cost;
use libbpf_rs::{AsRawLibbpf as _, MapCore as _, Object, ProgramMut, libbpf_sys};
use nix::errno::Errno;

use super::source::map_kind;
use super::until_nul;
use crate::explain::classify::{self, Failure, Step, Subject};
use crate::explain::{kernel, probe, statistics};
use crate::loaders::libbpf_messages as messages;

/// An object in the kernel.
pub(super) struct Loaded {
    pub(super) object: Object,
    /// The verifier's logs, in the order of the programs. libbpf has pointers to them while the object is there.
    pub(super) logs: Vec<Vec<u8>>,
    /// When the kernel began with each program, in order.
    starts: Vec<Duration>,
    /// When it was loaded.
    end: Duration,
}

impl Loaded {
    pub(super) fn new(object: Object, logs: Vec<Vec<u8>>, end: Duration) -> Self {
        let starts = object.progs_mut().filter_map(|program| info(&program)).map(|info| info.load_time);
        let mut starts: Vec<Duration> = starts.collect();
        starts.sort_unstable();
        Self { object, logs, starts, end }
    }

    /// The maps, with what they take.
    pub(super) fn maps(&self) -> Vec<Map> {
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
    pub(super) fn answer(&self, place: usize, subject: &Subject, attach: bool) -> ProgramAnswer {
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
        let next = self.starts.get(self.starts.partition_point(|start| *start <= info.load_time));
        let until = next.copied().unwrap_or(self.end);
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
