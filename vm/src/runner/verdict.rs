//! What the end of a test's process means.

use std::time::Duration;

use hooklab_protocol::Exit;

use crate::event::Outcome;

/// The outcome, and why it is not a good one. libtest exits with 0 also where no test had that name, so its word is
/// asked for as well.
pub(super) fn judge(exit: Exit, output: &str, test: &str, limit: Duration) -> (Outcome, Option<String>) {
    let last = output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let said_so = last.starts_with("test result: ok. 1 passed; 0 failed; 0 ignored");
    let said = without_harness(output, test);
    let (outcome, message) = match exit {
        Exit::Code(0) if said_so => return (Outcome::Passed, None),
        Exit::Code(0) => (Outcome::Failed, format!("its process ended well, but no test had run\n{said}")),
        Exit::Code(_) => (Outcome::Failed, said.to_owned()),
        Exit::Signal(signal) => (Outcome::Crashed, format!("killed by signal {signal}\n{said}")),
        Exit::TimedOut => (Outcome::TimedOut, format!("killed at its time limit of {limit:.0?}\n{said}")),
    };
    (outcome, Some(message.trim_end().to_owned()))
}

/// What the test itself printed, without what libtest prints around it.
fn without_harness<'a>(output: &'a str, test: &str) -> &'a str {
    let begin = format!("test {test} ... ");
    let said = output.split_once(&begin).map_or(output, |(_, said)| said);
    said.rsplit_once("\nFAILED\n\nfailures:\n").map_or(said, |(said, _)| said).trim_matches('\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);
    const PASSED: &str =
        "running 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured";

    #[test]
    fn only_a_test_that_ran_has_passed() {
        assert_eq!(judge(Exit::Code(0), PASSED, "a", LIMIT), (Outcome::Passed, None));
        let none = "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored";
        assert_eq!(judge(Exit::Code(0), none, "a", LIMIT).0, Outcome::Failed);
        assert_eq!(judge(Exit::Code(0), "", "a", LIMIT).0, Outcome::Failed);
        assert_eq!(judge(Exit::Code(101), PASSED, "a", LIMIT).0, Outcome::Failed);
        // Quoted from another run, by a test that then leaves.
        let quoted = format!("{PASSED}\nthat was another one");
        assert_eq!(judge(Exit::Code(0), &quoted, "a", LIMIT).0, Outcome::Failed);
    }

    #[test]
    fn what_libtest_prints_around_a_failure_is_left_out() {
        let output = "\nrunning 1 test\ntest a::b ... at first\n\nthread 'a::b' panicked\nFAILED\n\nfailures:\n\n\
                      failures:\n    a::b\n\ntest result: FAILED. 0 passed; 1 failed\n";
        let (_, message) = judge(Exit::Code(101), output, "a::b", LIMIT);
        assert_eq!(message.unwrap(), "at first\n\nthread 'a::b' panicked");
    }

    #[test]
    fn a_signal_and_a_time_limit_are_told_apart() {
        assert_eq!(judge(Exit::Signal(6), "", "a", LIMIT).0, Outcome::Crashed);
        let (outcome, message) = judge(Exit::TimedOut, "waiting", "a", LIMIT);
        assert_eq!(outcome, Outcome::TimedOut);
        assert_eq!(message.unwrap(), "killed at its time limit of 5s\nwaiting");
    }
}
