//! Tries the programs of an object with libbpf.
//!
//! First all at once: what loads so loads alone. Where that fails, each program alone, in an object opened anew, so that one
//! that is refused does not hide the others; and those that are refused once more, for the verifier's log. What libbpf makes
//! or looks up for the whole object, such as a map, stands in the way of all its programs: one is tried alone.

mod lines;
mod loaded;
mod source;

use std::path::Path;

use hooklab_types::explain::{
    Cause, CauseClass, Explained, ObjectAnswer, ObjectDetails, ProgramAnswer, Verdict,
};
use hooklab_types::loader::Cost;
use nix::errno::Errno;

use self::loaded::Loaded;
use self::source::{Described, Refused, Source};
use super::classify::{self, Failure, Step, Subject};
use super::{Findings, log, probe};
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
    let programs = source.try_all(&subjects, attach, &map_kinds, &mut details);
    Findings { object: ObjectAnswer { programs: programs.len(), cause: None, details }, programs }
}

impl Source<'_> {
    /// Loads all programs at once; if that fails, each alone.
    fn try_all(
        &self,
        subjects: &[Subject],
        attach: bool,
        map_kinds: &[(String, u32)],
        details: &mut ObjectDetails,
    ) -> Vec<ProgramAnswer> {
        let mut alone = |place: usize, known: Option<Refused>| {
            let first = known.map_or_else(|| self.load_alone(place), Err);
            self.answer(first, place, &subjects[place], attach, map_kinds, details)
        };
        let places = 0..subjects.len();
        if places.len() < 2 {
            return places.map(|place| alone(place, None)).collect();
        }
        match self.load(None, LOG_STATISTICS, SHORT_LOG) {
            Ok(loaded) => {
                details.maps = loaded.maps();
                let answer = |(place, subject)| loaded.answer(place, subject, attach);
                subjects.iter().enumerate().map(answer).collect()
            }
            Err(refused) if classify::is_of_object(&refused.messages) => {
                let same = |subject| refused.answer(subject, map_kinds);
                match alone(0, None).explained.cause == same(&subjects[0]).explained.cause {
                    true => subjects.iter().map(same).collect(),
                    false => places.map(|place| alone(place, None)).collect(),
                }
            }
            Err(refused) => {
                // The kernel said of this one what it would say of it alone; some take it seconds.
                let name = classify::failed_program(&refused.messages).unwrap_or_default();
                let known = subjects.iter().position(|subject| subject.name == name);
                let known = known.filter(|_| refused.errno != Errno::ENOSPC as i32);
                let mut refused = Some(refused);
                let known = |place| if known == Some(place) { refused.take() } else { None };
                places.map(known).enumerate().map(|(place, known)| alone(place, known)).collect()
            }
        }
    }

    /// Loads one program alone.
    fn load_alone(&self, place: usize) -> Result<Loaded, Refused> {
        match self.load(Some(place), LOG_STATISTICS, SHORT_LOG) {
            // Too little room for a log makes the kernel refuse what it would take: without one it is true to itself.
            Err(refused) if refused.errno == Errno::ENOSPC as i32 => self.load(Some(place), 0, LONG_LOG),
            other => other,
        }
    }

    /// What came of loading one program; if that failed, it is loaded once more for its log.
    fn answer(
        &self,
        first: Result<Loaded, Refused>,
        place: usize,
        subject: &Subject,
        attach: bool,
        map_kinds: &[(String, u32)],
        details: &mut ObjectDetails,
    ) -> ProgramAnswer {
        let mut refused = match first {
            Ok(loaded) => {
                details.maps = loaded.maps();
                return loaded.answer(place, subject, attach);
            }
            Err(refused) => refused,
        };
        let mut whole = String::new();
        let error = log::parse(&refused.log(place)).text;
        if classify::wants_instructions(error.as_deref()) {
            match self.load(Some(place), LOG_INSTRUCTIONS | LOG_STATISTICS, LONG_LOG) {
                // The kernel has changed its mind, as it may where memory was short.
                Ok(loaded) => return loaded.answer(place, subject, attach),
                Err(again) => {
                    whole = again.log(place);
                    refused.messages = again.messages;
                    let instruction = log::last_instruction(&whole);
                    refused.source = instruction.and_then(|instruction| self.line(place, instruction));
                }
            }
        }
        let cause = refused.cause(Step::Load, Some((subject, place, &whole)), map_kinds);
        if let Some(other) = classify::failed_program(&refused.messages).filter(|name| *name != subject.name)
        {
            return subject
                .not_tried(format!("libbpf loads it only together with `{other}`, which does not load"));
        }
        let short = refused.log(place);
        let log = match whole.is_empty() || classify::is_complete(&whole, error.as_deref()) {
            true if !whole.is_empty() => whole,
            true => short,
            false => format!("{whole}\n[the kernel gave no more of it]\n{short}"),
        };
        subject.refused(cause, Some(shortened(&log)).filter(|log| !log.is_empty()))
    }
}

impl Refused {
    /// The log of a program.
    fn log(&self, place: usize) -> String {
        self.logs.get(place).map(|log| until_nul(log)).unwrap_or_default()
    }

    /// What there is to say of a program of an object that cannot be loaded, whatever the program.
    fn answer(&self, subject: &Subject, map_kinds: &[(String, u32)]) -> ProgramAnswer {
        let cause = self.cause(Step::Load, Some((subject, usize::MAX, "")), map_kinds);
        subject.refused(cause, None)
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

impl Subject {
    /// The answer about a program that did not load.
    fn refused(&self, cause: Cause, log: Option<String>) -> ProgramAnswer {
        self.without_cost(Verdict::Refused, cause, log)
    }

    /// The answer about a program of which nothing was found out, and why.
    fn not_tried(&self, why: String) -> ProgramAnswer {
        let cause = Cause { class: CauseClass::Other, text: why, source: None, instruction: None };
        self.without_cost(Verdict::NotTried, cause, None)
    }

    fn without_cost(&self, verdict: Verdict, cause: Cause, log: Option<String>) -> ProgramAnswer {
        let explained = Explained {
            section: self.section.clone(),
            kind: self.kind_name.clone(),
            verdict,
            cause: Some(cause),
            seconds: None,
            log,
        };
        ProgramAnswer { name: self.name.clone(), cost: Cost::default(), explained }
    }
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
