//! One line of `trace_pipe`, read strictly.
//!
//! The kernel's format (`Documentation/trace/ftrace.rst`):
//! `            task-123     [000] d..21    12.345678: bpf_trace_printk: message`.
//! The flags are four characters on 5.10, five from 5.17 on, and seven where kernels are real-time ones (PREEMPT_RT).

use std::fmt;

/// What somebody wrote into the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The thread that was running.
    pub(crate) tid: u32,
    /// What wrote it, as in `bpf_trace_printk`.
    pub(crate) origin: String,
    /// The text.
    pub(crate) message: String,
}

/// The kernel dropped lines, since nobody read them in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    /// How many, as far as the kernel says.
    pub(crate) events: u64,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the trace lost {} events", self.events)
    }
}

impl Line {
    /// Reads a line without its line feed.
    ///
    /// # Panics
    ///
    /// If it is neither of the known form nor a note of lost events: a test must not skip what it cannot read.
    pub(crate) fn parse(text: &str) -> Result<Self, Lost> {
        if let Some(lost) = lost_events(text) {
            return Err(lost);
        }
        Ok(parse(text).unwrap_or_else(|| panic!("not a line of trace_pipe: {text:?}")))
    }
}

/// Reads `CPU:0 [LOST 12 EVENTS]`; a kernel that cannot count them says `CPU:0 [LOST EVENTS]`.
fn lost_events(text: &str) -> Option<Lost> {
    let (_, note) = text.strip_prefix("CPU:")?.split_once(" [LOST ")?;
    let count = note.strip_suffix("EVENTS]")?.trim_end();
    Some(Lost { events: count.parse().unwrap_or(1) })
}

/// A task's name may look like the columns that follow it, so take the first place where they are sound.
fn parse(text: &str) -> Option<Line> {
    text.match_indices(" [").find_map(|(at, _)| parse_columns(&text[..at], &text[at + 2..]))
}

fn parse_columns(task: &str, columns: &str) -> Option<Line> {
    let (_name, tid) = task.trim_end().rsplit_once('-')?;
    let (cpu, rest) = columns.split_once("] ")?;
    let (flags, rest) = rest.split_once(' ')?;
    let (time, rest) = rest.trim_start().split_once(": ")?;
    let (origin, message) = rest.split_once(": ")?;

    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (seconds, micros) = time.split_once('.')?;
    let sound = digits(cpu) && matches!(flags.len(), 4..=7) && digits(seconds) && digits(micros);
    let tid = tid.parse().ok()?;
    sound.then(|| Line { tid, origin: origin.to_owned(), message: message.to_owned() })
}

#[cfg(all(test, not(feature = "guest")))]
mod tests {
    use super::*;

    fn line(tid: u32, message: &str) -> Line {
        Line { tid, origin: "bpf_trace_printk".to_owned(), message: message.to_owned() }
    }

    #[test]
    fn lines_of_old_and_new_kernels() {
        let old = "   hooklab-actor-123     [000] d...    12.345678: bpf_trace_printk: from PID 123.";
        let new = "           <...>-4194303 [001] ...21  1112.000001: bpf_trace_printk: a: b";
        let realtime = "           <...>-122     [000] .......     4.074941: tracing_mark_write: x";
        assert_eq!(Line::parse(old), Ok(line(123, "from PID 123.")));
        assert_eq!(Line::parse(new), Ok(line(4_194_303, "a: b")));
        assert_eq!(Line::parse(realtime).map(|line| line.tid), Ok(122));
    }

    #[test]
    fn a_task_may_have_any_name() {
        let odd = "  a-1 [x] b: c-77      [000] d..21    12.345678: bpf_trace_printk: b [0] a";
        assert_eq!(Line::parse(odd), Ok(line(77, "b [0] a")));
    }

    #[test]
    fn lost_events_are_an_error() {
        assert_eq!(Line::parse("CPU:0 [LOST 12 EVENTS]"), Err(Lost { events: 12 }));
        assert_eq!(Line::parse("CPU:13 [LOST EVENTS]"), Err(Lost { events: 1 }));
        assert_eq!(Lost { events: 2 }.to_string(), "the trace lost 2 events");
    }

    #[test]
    #[should_panic(expected = "not a line of trace_pipe")]
    fn anything_else_is_not_skipped() {
        let _ = Line::parse("other text");
    }
}
