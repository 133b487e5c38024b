//! The verdict on the process of a test, or of a program that runs whole.

use std::time::Duration;

use hooklab_protocol::Exit;

use crate::event::Outcome;

/// Exit code of a program that a kernel does not support (automake's manual, "Scripts-based Testsuites").
const UNSUPPORTED: i32 = 77;

/// How a harness summarizes a run.
const RESULT: &str = "test result: ";

/// The outcome, and why it is not `passed`.
///
/// A test passes if its process exits with 0 and its harness's result says that one test passed, wherever that line stands:
/// handlers of `atexit(3)` may print after it. libtest exits with 0 also if no test has that name.
pub(super) fn of_test(exit: Exit, output: &str, test: &str, limit: Duration) -> (Outcome, Option<String>) {
    let printed = without_harness(output, test);
    let (outcome, message) = match exit {
        Exit::Code(0) if reports_success(output) => return (Outcome::Passed, None),
        Exit::Code(0) => (
            Outcome::Failed,
            format!("its process exited with 0, but its harness reported no success\n{printed}"),
        ),
        Exit::Code(_) => (Outcome::Failed, printed),
        other => killed(other, &printed, limit),
    };
    (outcome, Some(message.trim_end().to_owned()))
}

/// The outcome of a program that runs whole, by its exit code, and why it is not `passed`: of one that is unsupported, the
/// last line that it printed.
pub(super) fn of_program(exit: Exit, output: &str, limit: Duration) -> (Outcome, Option<String>) {
    let printed = output.trim_matches('\n');
    let (outcome, message) = match exit {
        Exit::Code(0) => return (Outcome::Passed, None),
        Exit::Code(UNSUPPORTED) => {
            let last = printed.lines().rev().map(str::trim).find(|line| !line.is_empty());
            (
                Outcome::Unsupported,
                last.map_or_else(|| format!("it exited with {UNSUPPORTED}"), str::to_owned),
            )
        }
        Exit::Code(code) => (Outcome::Failed, format!("it exited with {code}\n{printed}")),
        other => killed(other, printed, limit),
    };
    (outcome, Some(message.trim_end().to_owned()))
}

/// The outcome of a process that was killed.
fn killed(exit: Exit, printed: &str, limit: Duration) -> (Outcome, String) {
    match exit {
        Exit::TimedOut => (Outcome::TimedOut, format!("killed at its time limit of {limit:.0?}\n{printed}")),
        Exit::Signal(signal) => (Outcome::Crashed, format!("killed by signal {signal}\n{printed}")),
        Exit::Code(_) => (Outcome::Failed, printed.to_owned()),
    }
}

/// Whether the last result in the output is the harness's own, and says that one test passed.
///
/// A test may run other tests and show what these print. If it then ends the process, the last result is not its own: one
/// run that began has none.
fn reports_success(output: &str) -> bool {
    let lines: Vec<&str> = output.lines().collect();
    let results: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(RESULT)).collect();
    let begins = |pair: &&[&str]| begins_run(pair[0]) && pair[1].starts_with("test ");
    let begun = lines.windows(2).filter(begins).count();
    let passed = results.last().is_some_and(|result| result.starts_with("ok. 1 passed; 0 failed; 0 ignored"));
    passed && begun <= results.len()
}

/// Whether a line is the first of a run: `running 1 test`.
fn begins_run(line: &str) -> bool {
    let count = line.strip_prefix("running ").and_then(|rest| rest.split_once(" test"));
    count.is_some_and(|(count, plural)| {
        !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()) && matches!(plural, "" | "s")
    })
}

/// What the test itself printed, and the reason that its harness gives, without what the harness prints around them.
fn without_harness(output: &str, test: &str) -> String {
    let begin = |of: &str| output.find(of).map(|at| at + of.len());
    let begin =
        begin(&format!("test {test} ... ")).or_else(|| begin(&format!("test {test} - should panic ... ")));
    let printed = &output[begin.unwrap_or(0)..];
    let list = format!("\nfailures:\n    {test}\n");
    let Some((printed, end)) = printed.rsplit_once(&list) else {
        return printed.trim_matches('\n').to_owned();
    };
    let (printed, reason) = printed.rsplit_once("FAILED\n\nfailures:\n").unwrap_or((printed, ""));
    let heading = format!("---- {test}");
    let of_test = |line: &&str| !matches!(line.strip_prefix(&*heading), Some(" ----" | " stdout ----"));
    let reason = reason.lines().filter(of_test).collect::<Vec<_>>().join("\n");
    let after = end.trim_start().split_once('\n').map_or("", |(_, after)| after);
    let parts = [printed, &reason, after].map(|part| part.trim_matches('\n'));
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);
    const PASSED: &str =
        "running 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured";

    #[test]
    fn a_test_passes_only_if_it_ran() {
        assert_eq!(of_test(Exit::Code(0), PASSED, "a", LIMIT), (Outcome::Passed, None));
        let none = "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored";
        assert_eq!(of_test(Exit::Code(0), none, "a", LIMIT).0, Outcome::Failed);
        assert_eq!(of_test(Exit::Code(0), "", "a", LIMIT).0, Outcome::Failed);
        assert_eq!(of_test(Exit::Code(101), PASSED, "a", LIMIT).0, Outcome::Failed);
    }

    #[test]
    fn output_after_the_result_changes_nothing() {
        let late = format!("{PASSED}\n\nLLVM Profile Error: no such file\n");
        assert_eq!(of_test(Exit::Code(0), &late, "a", LIMIT), (Outcome::Passed, None));
        // A test that runs others shows their results before its own.
        let nested = format!(
            "running 1 test\ntest a ... {PASSED}\nok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored"
        );
        assert_eq!(of_test(Exit::Code(0), &nested, "a", LIMIT).0, Outcome::Passed);
    }

    #[test]
    fn the_result_of_another_run_is_no_result() {
        // Of a test that runs others and then ends the process.
        let quoted = format!("running 1 test\ntest a ... \n{PASSED}\nthat was another one");
        assert_eq!(of_test(Exit::Code(0), &quoted, "a", LIMIT).0, Outcome::Failed);
        let other_failed = format!("{PASSED}\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored");
        assert_eq!(of_test(Exit::Code(0), &other_failed, "a", LIMIT).0, Outcome::Failed);
    }

    #[test]
    fn what_libtest_prints_around_a_failure_is_removed() {
        let output = "\nrunning 1 test\ntest a::b ... at first\n\nthread 'a::b' panicked\nFAILED\n\nfailures:\n\n\
                      failures:\n    a::b\n\ntest result: FAILED. 0 passed; 1 failed\n";
        let (_, message) = of_test(Exit::Code(101), output, "a::b", LIMIT);
        assert_eq!(message.unwrap(), "at first\n\nthread 'a::b' panicked");
    }

    #[test]
    fn the_reason_that_the_harness_gives_is_kept() {
        let output = "\nrunning 1 test\ntest calm - should panic ... working\nFAILED\n\nfailures:\n\n---- calm stdout ----\n\
                      note: test did not panic as expected at a.rs:1:28\n\nfailures:\n    calm\n\n\
                      test result: FAILED. 0 passed; 1 failed; 0 ignored\n\nLLVM Profile Error: x\n";
        let (outcome, message) = of_test(Exit::Code(101), output, "calm", LIMIT);
        assert_eq!(outcome, Outcome::Failed);
        assert_eq!(
            message.unwrap(),
            "working\nnote: test did not panic as expected at a.rs:1:28\nLLVM Profile Error: x"
        );
        // libtest-mimic has it there alone.
        let mimic = "running 1 test\ntest a ... FAILED\n\nfailures:\n\n---- a ----\nit is blue\n\n\nfailures:\n    a\n\n\n\
                     test result: FAILED. 0 passed; 1 failed; 0 ignored\n";
        assert_eq!(of_test(Exit::Code(101), mimic, "a", LIMIT).1.unwrap(), "it is blue");
    }

    #[test]
    fn the_exit_code_of_a_program_that_runs_whole_is_the_verdict() {
        let of = |code, output| of_program(Exit::Code(code), output, LIMIT);
        let why = |text: &str| Some(text.to_owned());
        assert_eq!(of(0, "test result: FAILED"), (Outcome::Passed, None));
        assert_eq!(of(1, "no BTF\n"), (Outcome::Failed, why("it exited with 1\nno BTF")));
        assert_eq!(of(77, "trying\nno BTF \n\n"), (Outcome::Unsupported, why("no BTF")));
        assert_eq!(of(77, ""), (Outcome::Unsupported, why("it exited with 77")));
        let (outcome, message) = of_program(Exit::Signal(11), "at work\n", LIMIT);
        assert_eq!((outcome, message.as_deref()), (Outcome::Crashed, Some("killed by signal 11\nat work")));
        assert_eq!(of_program(Exit::TimedOut, "", LIMIT).0, Outcome::TimedOut);
    }

    #[test]
    fn a_signal_and_a_time_limit_have_different_outcomes() {
        assert_eq!(of_test(Exit::Signal(6), "", "a", LIMIT).0, Outcome::Crashed);
        let (outcome, message) = of_test(Exit::TimedOut, "waiting", "a", LIMIT);
        assert_eq!(outcome, Outcome::TimedOut);
        assert_eq!(message.unwrap(), "killed at its time limit of 5s\nwaiting");
    }
}
