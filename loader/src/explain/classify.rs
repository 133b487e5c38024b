//! Why a program does not load or attach: decided from libbpf's messages, the verifier's log and the error number.
//!
//! [`classify`] asks nothing of the kernel, so that what a kernel said once can be a test for ever.

use hooklab_types::explain::{Cause, CauseClass};
use nix::errno::Errno;

use super::probe::Support;
use super::{helpers, log};

/// The most bytes of a cause's texts.
const LONGEST: usize = 400;

/// The program type of LSM programs, from the kernel's `enum bpf_prog_type`.
const LSM: u32 = libbpf_rs::libbpf_sys::BPF_PROG_TYPE_LSM;

/// A program, as libbpf sees it before it is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// The function.
    pub(super) name: String,
    /// The ELF section.
    pub(super) section: String,
    /// The program type's number.
    pub(super) kind: u32,
    /// The program type's name; none if libbpf derives none from the section.
    pub(super) kind_name: Option<String>,
}

impl Subject {
    /// Whether it is called only where BPF is an active LSM.
    pub(super) const fn is_lsm(&self) -> bool {
        self.kind == LSM
    }
}

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Open,
    Load,
    Attach,
}

/// All that is known of a failure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure<'a> {
    pub(super) step: Step,
    /// What the kernel or libbpf answered; 0 if it is not known.
    pub(super) errno: i32,
    /// libbpf's messages, without those for debugging.
    pub(super) messages: &'a str,
    /// The verifier's errors, without the instructions; empty if the kernel did not come so far.
    pub(super) short_log: &'a str,
    /// The same with the instructions, in which libbpf has explained what it could; empty if there is none.
    pub(super) whole_log: &'a str,
    /// The line of the source of the last instruction in it, if the object says.
    pub(super) source: Option<&'a str>,
    /// The program; none if it is about the whole object.
    pub(super) subject: Option<&'a Subject>,
    pub(super) support: Support,
}

/// Finds the cause.
pub(super) fn classify(failure: &Failure<'_>) -> Cause {
    let mut whole = log::parse(failure.whole_log);
    let error = log::parse(failure.short_log).text.or_else(|| whole.text.clone());
    if !is_complete(failure.whole_log, error.as_deref()) {
        (whole.source, whole.instruction) = (None, None);
    } else if let Some(source) = failure.source {
        whole.source = Some(source.to_owned());
    }
    let (class, text) = of_object(failure)
        .or_else(|| error.as_deref().and_then(|error| of_log(failure, error)))
        .or_else(|| of_map(failure))
        .or_else(|| of_target(failure))
        .or_else(|| of_program_type(failure))
        .or_else(|| of_errno(failure, error.is_some()))
        .or_else(|| error.map(|error| (CauseClass::Verifier, error)))
        .unwrap_or_else(|| (CauseClass::Other, in_its_own_words(failure)));
    Cause {
        class,
        text: line(&text),
        source: whole.source.as_deref().map(line),
        instruction: whole.instruction.as_deref().map(line),
    }
}

/// What the verifier says when it gives up: it has followed more instructions or jumps than it does.
const TOO_LONG: [&str; 2] = ["program is too large", "jumps is too complex"];

/// The program at which libbpf gave up.
pub(super) fn failed_program(messages: &str) -> Option<&str> {
    let is_it = |warning: &&str| warning.starts_with("prog '") && warning.contains("': failed to load: ");
    warnings(messages).find(is_it).and_then(quoted)
}

/// Whether there is more to learn of a log with the instructions than that the program takes too long to verify.
pub(super) fn wants_instructions(error: Option<&str>) -> bool {
    error.is_some_and(|error| !TOO_LONG.iter().any(|words| error.contains(words)))
}

/// Whether a log has its end: of one that is too long, old kernels give the beginning.
pub(super) fn is_complete(whole: &str, error: Option<&str>) -> bool {
    // libbpf writes its own explanations in place of errors about functions that it made up.
    let explained = ["failed to resolve CO-RE relocation ", "' is referenced but wasn't "];
    error.is_none_or(|error| whole.contains(error)) || explained.iter().any(|words| whole.contains(words))
}

/// What is said of a loaded LSM program that the kernel does not call.
pub(super) fn inactive_lsm() -> Cause {
    let text = "the kernel never calls it, since `bpf` is not among its active LSMs (lsm=...,bpf)".to_owned();
    Cause { class: CauseClass::LsmInactive, text, source: None, instruction: None }
}

/// The map that could not be created.
pub(super) fn failed_map(messages: &str) -> Option<&str> {
    let is_it = |warning: &&str| warning.starts_with("map '") && warning.contains("': failed to create");
    warnings(messages).find(is_it).and_then(quoted)
}

/// Whether a failure is about what libbpf makes or looks up for the whole object, whichever of its programs is to be loaded:
/// its maps and what it declares as `__ksym`.
pub(super) fn is_of_object(messages: &str) -> bool {
    let found = |pattern: &&str| warnings(messages).any(|warning| warning.contains(*pattern));
    failed_map(messages).is_some() || KSYMS.iter().any(found)
}

/// What libbpf says of kernel functions and variables that it does not find.
const KSYMS: [&str; 3] = ["(func ksym)", "(var ksym)", "(strong): not resolved"];

/// What libbpf finds out before the kernel sees the program.
fn of_object(failure: &Failure<'_>) -> Option<(CauseClass, String)> {
    let found = |pattern: &str| warnings(failure.messages).find(|warning| warning.contains(pattern));
    for pattern in KSYMS {
        if let Some(warning) = found(pattern) {
            let name = quoted(warning).unwrap_or("?");
            let text = match warning.contains("incompatible") {
                true => format!("the kernel's `{name}` has another type than the program declares"),
                false => format!("the kernel has no function or variable `{name}` for programs"),
            };
            return Some((CauseClass::Kfunc, text));
        }
    }
    if let Some(warning) = found("failed to relocate:") {
        return Some((CauseClass::CoreRelocation, without_program(warning).to_owned()));
    }
    let without_btf = [
        "failed to find valid kernel BTF",
        "Error loading vmlinux BTF",
        "BTF is required, but is missing or corrupted",
        "vmlinux BTF is not found",
        "BTF is mandatory, can't proceed",
        "failed to find BTF for extern",
    ];
    without_btf.into_iter().find_map(found).map(|warning| (CauseClass::NoBtf, warning.to_owned()))
}

/// Errors of the verifier about what the kernel lacks, not about what the program does.
fn of_log(failure: &Failure<'_>, error: &str) -> Option<(CauseClass, String)> {
    let whole = failure.whole_log;
    if let Some((_, spec)) = whole.split_once("failed to resolve CO-RE relocation ") {
        let spec = spec.lines().next().unwrap_or_default();
        return Some((CauseClass::CoreRelocation, format!("the kernel's BTF has no {}", relocated(spec))));
    }
    if error.starts_with("invalid func unknown#195896080") {
        return Some((CauseClass::CoreRelocation, "the kernel's BTF lacks a type or field".to_owned()));
    }
    if let Some((before, _)) = whole.split_once("' is referenced but wasn't resolved") {
        let name = before.rsplit('\'').next().unwrap_or_default();
        return Some((CauseClass::Kfunc, format!("the kernel has no function `{name}` for programs")));
    }
    let has = |patterns: &[&str]| patterns.iter().any(|pattern| error.contains(pattern));
    if has(&["calling kernel function", "BPF_CALL uses reserved fields", "kernel function call"]) {
        return Some((CauseClass::Kfunc, error.to_owned()));
    }
    if let Some(number) = error.strip_prefix("invalid func unknown#") {
        let name = number.parse().ok().and_then(helpers::name).unwrap_or_else(|| format!("number {number}"));
        return Some((CauseClass::Helper, format!("the kernel has no helper {name}")));
    }
    for words in ["unknown func ", "program of this type cannot use helper "] {
        if let Some(name) = error.strip_prefix(words) {
            let name = name.split('#').next().unwrap_or_default();
            let kind = failure.subject.and_then(|subject| subject.kind_name.as_deref()).unwrap_or("this");
            return Some((
                CauseClass::Helper,
                format!("programs of type {kind} cannot call the helper {name}"),
            ));
        }
    }
    if has(&["can be sleepable", "is not sleepable"]) {
        return Some((CauseClass::ProgramType, error.to_owned()));
    }
    if has(&[
        "attach_btf_id",
        "is not modifiable",
        "attach to unsupported",
        "Invalid BTF id",
        "is not attachable",
    ]) {
        return Some((CauseClass::AttachTarget, error.to_owned()));
    }
    let large =
        ["program is too large", "program too large", "is too complex", "combined stack size", "call stack"];
    has(&large).then(|| (CauseClass::TooLarge, error.to_owned()))
}

/// A map that cannot be created.
fn of_map(failure: &Failure<'_>) -> Option<(CauseClass, String)> {
    let name = failed_map(failure.messages)?;
    let (class, text) = match (Errno::from_raw(failure.errno), failure.support.map_type) {
        (Errno::ENOMEM, _) => (CauseClass::OutOfMemory, format!("there is no memory for the map `{name}`")),
        (Errno::EPERM, _) => (CauseClass::NotPermitted, format!("the map `{name}` may not be created")),
        (_, Some(false)) => {
            (CauseClass::MapType, format!("the kernel does not have the type of the map `{name}`"))
        }
        (Errno::E2BIG, _) => {
            (CauseClass::TooLarge, format!("the map `{name}` is larger than the kernel takes"))
        }
        (errno, _) => (
            CauseClass::MapType,
            format!("the kernel does not create the map `{name}` with these sizes and flags ({errno:?})"),
        ),
    };
    Some((class, text))
}

/// What a program attaches to.
fn of_target(failure: &Failure<'_>) -> Option<(CauseClass, String)> {
    let patterns = [
        "failed to find kernel BTF type ID of",
        "is not found in vmlinux BTF",
        "no BTF-based attach target is specified",
        "attach program FD is not set",
        "failed to determine tracepoint",
        "failed to resolve full path for",
        "failed to find a unique match for",
        "perf event: -ENOENT",
        "failed to attach to raw tracepoint",
        "missing ':function[+offset]' specification",
        "invalid format of section definition",
        "invalid section",
        "struct_ops init_kern",
    ];
    let found = |pattern: &str| warnings(failure.messages).find(|warning| warning.contains(pattern));
    let found = patterns.into_iter().find_map(found);
    // A probe's pattern that matches nothing is told by the error number alone.
    // So is, by EINVAL, a section such as `tp/unused` that names half of a place.
    let bare = || {
        failure.step == Step::Attach
            && match Errno::from_raw(failure.errno) {
                Errno::ENOENT | Errno::ESRCH => true,
                Errno::EINVAL => failure.messages.is_empty(),
                _ => false,
            }
    };
    let target = || {
        let section = failure.subject.map(|subject| subject.section.as_str()).unwrap_or_default();
        match Errno::from_raw(failure.errno) {
            Errno::EINVAL => format!("`{section}` does not name what to attach to"),
            _ => format!("what `{section}` names is not there"),
        }
    };
    match found {
        Some(warning) => Some((CauseClass::AttachTarget, without_program(warning).to_owned())),
        None => bare().then(|| (CauseClass::AttachTarget, target())),
    }
}

/// A program type or attach type that the kernel does not know.
fn of_program_type(failure: &Failure<'_>) -> Option<(CauseClass, String)> {
    let subject = failure.subject?;
    if warnings(failure.messages).any(|warning| warning.contains("missing BPF prog type")) {
        let text = format!("libbpf knows no program type for the section `{}`", subject.section);
        return Some((CauseClass::ProgramType, text));
    }
    let kind = subject.kind_name.as_deref().unwrap_or("?");
    if failure.support.program_type == Some(false) {
        return Some((CauseClass::ProgramType, format!("the kernel does not have the program type {kind}")));
    }
    let refused = matches!(Errno::from_raw(failure.errno), Errno::EINVAL | Errno::EOPNOTSUPP)
        || failure.errno == ENOTSUPP;
    let unseen = failure.short_log.is_empty() && failure.whole_log.is_empty();
    // The verifier printed no error: the kernel has not looked at the instructions.
    // Attaching can be invalid for many reasons, but the kinds that attach to many places at once came late.
    let is_late = [".multi", ".session"].iter().any(|kind| subject.section.contains(kind));
    // Some programs libbpf itself does not take.
    let saw_it = warnings(failure.messages).any(|warning| warning.contains("BPF program load failed"));
    let is_it = failure.step == Step::Load && saw_it || failure.step == Step::Attach && is_late;
    (refused && unseen && is_it).then(|| {
        let text = format!("the kernel does not have the attach type of `{}` ({kind})", subject.section);
        (CauseClass::ProgramType, text)
    })
}

/// What the error number says by itself; where the verifier printed an error, that says more than some of them.
fn of_errno(failure: &Failure<'_>, has_error: bool) -> Option<(CauseClass, String)> {
    match Errno::from_raw(failure.errno) {
        Errno::ENOMEM => Some((CauseClass::OutOfMemory, "the kernel had no memory for it".to_owned())),
        Errno::E2BIG => {
            Some((CauseClass::TooLarge, "the program is larger than the kernel takes".to_owned()))
        }
        Errno::EPERM if !has_error => Some((CauseClass::NotPermitted, in_its_own_words(failure))),
        _ => None,
    }
}

/// The kernel's own ENOTSUPP, which no C library knows.
const ENOTSUPP: i32 = 524;

/// libbpf's first warning, which is nearest to the cause; or the error number.
fn in_its_own_words(failure: &Failure<'_>) -> String {
    let first = warnings(failure.messages).next().map(|warning| without_program(warning).to_owned());
    first.unwrap_or_else(|| match failure.errno {
        0 => "libbpf does not say why".to_owned(),
        errno => std::io::Error::from_raw_os_error(errno).to_string(),
    })
}

/// The messages, each without its prefix, as far as they are not the verifier's log.
fn warnings(messages: &str) -> impl Iterator<Item = &str> {
    let lines = messages.lines().map(|line| line.strip_prefix("libbpf: ").unwrap_or(line));
    lines.filter(|line| !line.trim().is_empty())
}

/// Without the name of the program, which stands beside it.
fn without_program(warning: &str) -> &str {
    let rest = warning.strip_prefix("prog '").and_then(|rest| rest.split_once("': "));
    rest.map_or(warning, |(_, rest)| rest)
}

/// The first word in quotation marks.
fn quoted(warning: &str) -> Option<&str> {
    warning.split('\'').nth(1)
}

/// `<byte_off> [7] struct task_struct.nothing (0:1 @ offset 4)` without the numbers.
fn relocated(spec: &str) -> String {
    let without_kind = spec.split_once("] ").map_or(spec, |(_, rest)| rest);
    let name = without_kind.split(" (").next().unwrap_or_default();
    format!("`{name}`")
}

/// One line, not too long, that cannot control a terminal.
fn line(text: &str) -> String {
    let clean = |character: char| if character.is_control() { ' ' } else { character };
    let text: String = text.chars().map(clean).collect();
    let text = text.trim();
    text[..text.floor_char_boundary(LONGEST)].to_owned()
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
