//! `failures.jsonl` has what Linux 5.10, 6.12 and 7.3 and libbpf 1.7 said of the programs in `tests/programs/explain`.

use serde::Deserialize;

use super::*;

/// A failure as it was recorded, with its cause.
#[derive(Deserialize)]
struct Recorded {
    kernel: String,
    step: String,
    errno: i32,
    messages: String,
    short_log: String,
    whole_log: String,
    source: Option<String>,
    subject: Option<RecordedSubject>,
    program_type: Option<bool>,
    map_type: Option<bool>,
    cause: Cause,
}

#[derive(Deserialize)]
struct RecordedSubject {
    name: String,
    section: String,
    kind: u32,
    kind_name: Option<String>,
}

fn recorded() -> Vec<Recorded> {
    include_str!("failures.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn cause(recorded: &Recorded) -> Cause {
    let subject = recorded.subject.as_ref().map(|subject| Subject {
        name: subject.name.clone(),
        section: subject.section.clone(),
        kind: subject.kind,
        kind_name: subject.kind_name.clone(),
    });
    classify(&Failure {
        step: match &recorded.step[..] {
            "Open" => Step::Open,
            "Load" => Step::Load,
            _ => Step::Attach,
        },
        errno: recorded.errno,
        messages: &recorded.messages,
        short_log: &recorded.short_log,
        whole_log: &recorded.whole_log,
        source: recorded.source.as_deref(),
        subject: subject.as_ref(),
        support: Support { program_type: recorded.program_type, map_type: recorded.map_type },
    })
}

#[test]
fn what_kernels_said_has_the_cause_that_it_had() {
    for recorded in recorded() {
        let program = recorded.subject.as_ref().map(|subject| &subject.name[..]).unwrap_or_default();
        assert_eq!(cause(&recorded), recorded.cause, "{program} on {}", recorded.kernel);
    }
}

#[test]
fn every_class_that_a_guest_can_show_is_recorded() {
    let mut classes: Vec<&str> = recorded().iter().map(|recorded| recorded.cause.class.name()).collect();
    classes.sort_unstable();
    classes.dedup();
    let expected = [
        "attach-target",
        "core-relocation",
        "helper",
        "kfunc",
        "map-type",
        "no-btf",
        "out-of-memory",
        "program-type",
        "too-large",
        "verifier",
    ];
    assert_eq!(classes, expected);
}

fn failure(errno: Errno, messages: &str) -> Cause {
    classify(&Failure {
        step: Step::Load,
        errno: errno as i32,
        messages,
        short_log: "",
        whole_log: "",
        source: None,
        subject: None,
        support: Support::default(),
    })
}

#[test]
fn what_a_process_may_not_do_is_told_from_what_is_not_safe() {
    assert_eq!(failure(Errno::EPERM, "").class, CauseClass::NotPermitted);
    assert_eq!(
        failure(Errno::EPERM, "libbpf: map 'm': failed to create: -EPERM\n").class,
        CauseClass::NotPermitted
    );
}

#[test]
fn what_nothing_is_known_of_is_told_in_libbpf_s_words() {
    let cause = failure(
        Errno::EIO,
        "libbpf: prog 'a': something \u{1b}[2Jelse\nlibbpf: prog 'a': failed to load: -5\n",
    );
    assert_eq!((cause.class, &cause.text[..]), (CauseClass::Other, "something  [2Jelse"));
    assert_eq!(failure(Errno::EIO, "").text, "Input/output error (os error 5)");
}

#[test]
fn a_log_without_its_end_gives_no_last_instruction() {
    let whole = "0: R1=ctx() R10=fp0\n; sum(); @ a.c:1\n0: (b7) r0 = 0\n1: (b7) r0 = 1\n";
    let short = "R1 !read_ok\nverification time 7 usec\nprocessed 9 insns (limit 1000000)\n";
    let of = |whole_log: &str| {
        let subject = None;
        let support = Support::default();
        classify(&Failure {
            step: Step::Load,
            errno: Errno::EACCES as i32,
            messages: "",
            short_log: short,
            whole_log,
            source: None,
            subject,
            support,
        })
    };
    let (cut, complete) = (of(whole), of(&format!("{whole}R1 !read_ok\n")));
    assert_eq!((cut.text.as_str(), cut.instruction, cut.source), ("R1 !read_ok", None, None));
    assert_eq!(complete.instruction.as_deref(), Some("1: (b7) r0 = 1"));
    assert_eq!(complete.source.as_deref(), Some("sum(); @ a.c:1"));
}

#[test]
fn libbpf_s_messages_tell_an_object_s_failure_from_a_program_s() {
    let program =
        "libbpf: prog 'a': BPF program load failed: -EINVAL\nlibbpf: prog 'a': failed to load: -EINVAL\n";
    let map = "libbpf: map 'm': failed to create: -EINVAL\nlibbpf: failed to load object 'o'\n";
    assert_eq!(
        (failed_program(program), failed_map(program), is_of_object(program)),
        (Some("a"), None, false)
    );
    assert_eq!((failed_program(map), failed_map(map), is_of_object(map)), (None, Some("m"), true));
    assert!(is_of_object("libbpf: extern (func ksym) 'f': not found in kernel or module BTFs\n"));
    // A tracepoint's, not a map's.
    let attached = "libbpf: prog 'a': failed to create tracepoint 'x/y' perf event: -ENOENT\n";
    assert_eq!((failed_map(attached), is_of_object(attached)), (None, false));
}

#[test]
fn whatever_is_cut_off_gives_a_cause_of_one_line() {
    for whole in recorded() {
        let longest = whole.messages.len().max(whole.short_log.len()).max(whole.whole_log.len());
        for length in (0..longest).step_by(5) {
            let cut = |text: &str| text[..text.floor_char_boundary(length)].to_owned();
            let (messages, short_log, whole_log) =
                (cut(&whole.messages), cut(&whole.short_log), cut(&whole.whole_log));
            let recorded = Recorded { messages, short_log, whole_log, subject: None, ..clone(&whole) };
            let text = cause(&recorded).text;
            assert!(!text.contains('\n') && text.len() <= LONGEST, "{text}");
        }
    }
}

fn clone(recorded: &Recorded) -> Recorded {
    let Recorded { errno, program_type, map_type, .. } = *recorded;
    Recorded {
        kernel: recorded.kernel.clone(),
        step: recorded.step.clone(),
        errno,
        messages: String::new(),
        short_log: String::new(),
        whole_log: String::new(),
        source: recorded.source.clone(),
        subject: None,
        program_type,
        map_type,
        cause: recorded.cause.clone(),
    }
}
