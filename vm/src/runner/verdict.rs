//! The verdict on the process of a test.

use std::time::Duration;

use hooklab_protocol::Exit;

use crate::event::Outcome;

/// The outcome, and why it is not `passed`. libtest exits with 0 also if no test has that name, so its summary counts, too.
pub(super) fn of_process(exit: Exit, output: &str, test: &str, limit: Duration) -> (Outcome, Option<String>) {
    let last = output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let summarized = last.starts_with("test result: ok. 1 passed; 0 failed; 0 ignored");
    let printed = without_harness(output, test);
    let (outcome, message) = match exit {
        Exit::Code(0) if summarized => return (Outcome::Passed, None),
        Exit::Code(0) => {
            (Outcome::Failed, format!("its process exited with 0, but no test had run\n{printed}"))
        }
        Exit::Code(_) => (Outcome::Failed, printed.to_owned()),
        Exit::Signal(signal) => (Outcome::Crashed, format!("killed by signal {signal}\n{printed}")),
        Exit::TimedOut => (Outcome::TimedOut, format!("killed at its time limit of {limit:.0?}\n{printed}")),
    };
    (outcome, Some(message.trim_end().to_owned()))
}

/// The output of the test itself, without what libtest prints around it.
fn without_harness<'a>(output: &'a str, test: &str) -> &'a str {
    let begin = format!("test {test} ... ");
    let printed = output.split_once(&begin).map_or(output, |(_, printed)| printed);
    printed.rsplit_once("\nFAILED\n\nfailures:\n").map_or(printed, |(printed, _)| printed).trim_matches('\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);
    const PASSED: &str =
        "running 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured";

    #[test]
    fn a_test_passes_only_if_it_ran() {
        assert_eq!(of_process(Exit::Code(0), PASSED, "a", LIMIT), (Outcome::Passed, None));
        let none = "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored";
        assert_eq!(of_process(Exit::Code(0), none, "a", LIMIT).0, Outcome::Failed);
        assert_eq!(of_process(Exit::Code(0), "", "a", LIMIT).0, Outcome::Failed);
        assert_eq!(of_process(Exit::Code(101), PASSED, "a", LIMIT).0, Outcome::Failed);
        // Quoted from another run, by a test that then exits.
        let quoted = format!("{PASSED}\nthat was another one");
        assert_eq!(of_process(Exit::Code(0), &quoted, "a", LIMIT).0, Outcome::Failed);
    }

    #[test]
    fn what_libtest_prints_around_a_failure_is_removed() {
        let output = "\nrunning 1 test\ntest a::b ... at first\n\nthread 'a::b' panicked\nFAILED\n\nfailures:\n\n\
                      failures:\n    a::b\n\ntest result: FAILED. 0 passed; 1 failed\n";
        let (_, message) = of_process(Exit::Code(101), output, "a::b", LIMIT);
        assert_eq!(message.unwrap(), "at first\n\nthread 'a::b' panicked");
    }

    #[test]
    fn a_signal_and_a_time_limit_have_different_outcomes() {
        assert_eq!(of_process(Exit::Signal(6), "", "a", LIMIT).0, Outcome::Crashed);
        let (outcome, message) = of_process(Exit::TimedOut, "waiting", "a", LIMIT);
        assert_eq!(outcome, Outcome::TimedOut);
        assert_eq!(message.unwrap(), "killed at its time limit of 5s\nwaiting");
    }
}
