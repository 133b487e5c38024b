//! Messages of the C library libbpf, collected instead of printed: reasons, and the verifier's log.
//!
//! Shared by all loaders that use libbpf, since a process has one libbpf.

use std::mem;
use std::sync::{Mutex, PoisonError};

use libbpf_rs::{PrintLevel, set_print};

use crate::Error;

/// What libbpf prints around a verifier's log.
const LOG_START: &str = "-- BEGIN PROG LOAD LOG --\n";
const LOG_END: &str = "-- END PROG LOAD LOG --";

/// The messages since the last [`take`]. libbpf's callback takes no context, hence a static.
static MESSAGES: Mutex<String> = Mutex::new(String::new());

/// Collects libbpf's messages from now on.
pub fn keep() {
    set_print(Some((PrintLevel::Info, keep_message)));
}

/// Collects them, and prints all messages on standard error, including those for debugging.
pub fn keep_and_show() {
    set_print(Some((PrintLevel::Debug, |level, message| {
        eprint!("{message}");
        if level != PrintLevel::Debug {
            keep_message(level, message);
        }
    })));
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is libbpf-rs's")]
fn keep_message(_level: PrintLevel, message: String) {
    MESSAGES.lock().unwrap_or_else(PoisonError::into_inner).push_str(&message);
}

/// Takes the collected messages.
pub fn take() -> String {
    mem::take(&mut MESSAGES.lock().unwrap_or_else(PoisonError::into_inner))
}

/// An error and the messages before it, on one line.
pub fn one_line(error: &str, messages: &str) -> String {
    let lines = messages.lines().map(|line| line.trim_start_matches("libbpf: "));
    [error].into_iter().chain(lines).collect::<Vec<_>>().join("; ")
}

/// Finds the verifier's log and its program in the messages.
pub fn verifier_log(messages: &str) -> Option<Error> {
    let (before, after) = messages.split_once(LOG_START)?;
    let (log, _) = after.split_once(LOG_END)?;
    let program = before.rsplit('\'').nth(1).unwrap_or("the program");
    Some(Error::Rejected { program: program.to_owned(), log: log.to_owned() })
}

/// The program that libbpf speaks of last, which is the one that it failed to load.
pub fn blamed_program(messages: &str) -> Option<&str> {
    messages.lines().rev().find_map(|line| {
        let (name, _) = line.strip_prefix("libbpf: prog '")?.split_once("': ")?;
        Some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifiers_log_is_found_among_the_messages() {
        let messages = "libbpf: prog 'a': BPF program load failed: Permission denied\n\
                        libbpf: prog 'a': -- BEGIN PROG LOAD LOG --\nit's bad\nvery\n-- END PROG LOAD LOG --\n\
                        libbpf: prog 'a': failed to load: -13\n";
        let Some(Error::Rejected { program, log }) = verifier_log(messages) else { panic!("no log") };
        assert_eq!((program.as_str(), log.as_str()), ("a", "it's bad\nvery\n"));
    }

    #[test]
    fn the_last_program_that_failed_is_blamed() {
        let messages = "libbpf: prog 'a': relo #0\nlibbpf: prog 'b': failed to load: -13\n\
                        libbpf: failed to load object 'x'\n";
        assert_eq!(blamed_program(messages), Some("b"));
        assert_eq!(blamed_program("libbpf: map 'prog 'x': y': failed\n"), None);
    }

    #[test]
    fn messages_without_a_log_give_none() {
        assert!(verifier_log("libbpf: Error in bpf_create_map_xattr(x): -1\n").is_none());
    }
}
