//! The JUnit report: a suite for each kernel, a case for each test.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use hooklab_types::report::{Cell, Kernel, Report};
use hooklab_types::test::{Attempt, Outcome};
use hooklab_vm::host::write_whole;
use quick_junit::{NonSuccessKind, Report as Suites, TestCase, TestCaseStatus, TestRerun, TestSuite};

use crate::naming::Name;

/// Writes the report to `path`, whole or not at all.
pub fn write(report: &Report, path: &Path) -> Result<()> {
    let xml = suites(report).to_string().context("failed to make the JUnit report")?;
    Ok(write_whole(path, xml.as_bytes())?)
}

fn suites(report: &Report) -> Suites {
    let mut suites = Suites::new("hooklab");
    suites.set_time(Duration::from_secs_f64(report.wall_seconds));
    suites.add_test_suites(report.kernels.iter().map(suite));
    suites
}

fn suite(kernel: &Kernel) -> TestSuite {
    let mut suite = TestSuite::new(kernel.spec.as_str());
    suite.set_time(Duration::from_secs_f64(kernel.wall_seconds));
    if let Some(release) = &kernel.release {
        suite.add_property(("release", release.as_str()));
    }
    if let Some(append) = &kernel.append {
        suite.add_property(("append", append.as_str()));
    }
    suite.add_test_cases(kernel.tests.iter().map(|cell| case(kernel, cell)));
    if let Some(error) = &kernel.error {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(first_line(error)).set_description(error.as_str());
        suite.add_test_case(TestCase::new("the lab itself", status));
    }
    suite
}

fn case(kernel: &Kernel, cell: &Cell) -> TestCase {
    let mut status = match cell.outcome {
        // With reruns below, a success is a flaky one.
        Outcome::Passed | Outcome::Flaky => TestCaseStatus::success(),
        Outcome::Ignored | Outcome::Unsupported => TestCaseStatus::skipped(),
        other => TestCaseStatus::non_success(kind(other)),
    };
    status.add_reruns(cell.earlier.iter().map(rerun));
    if let Some(message) = &cell.message {
        status.set_message(first_line(message)).set_description(message.as_str());
    }
    let mut case = TestCase::new(Name::from(cell).to_string(), status);
    case.set_classname(kernel.spec.as_str()).set_time(Duration::from_secs_f64(cell.seconds));
    case
}

fn kind(outcome: Outcome) -> NonSuccessKind {
    if outcome == Outcome::Failed { NonSuccessKind::Failure } else { NonSuccessKind::Error }
}

/// A time that did not count.
fn rerun(attempt: &Attempt) -> TestRerun {
    let mut rerun = TestRerun::new(kind(attempt.outcome));
    let message = attempt.message.as_deref().unwrap_or_default();
    rerun.set_message(first_line(message)).set_description(message);
    rerun.set_time(Duration::from_secs_f64(attempt.seconds));
    rerun
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_a_kernel_does_not_support_is_skipped_with_the_reason() {
        let cell = Cell { message: Some("no BTF".into()), ..Cell::new("a", Outcome::Unsupported) };
        let mut suite = TestSuite::new("5.10");
        suite.add_test_case(case(&Kernel::unknown("5.10"), &cell));
        let mut suites = Suites::new("hooklab");
        suites.add_test_suite(suite);
        let xml = suites.to_string().unwrap();
        assert!(xml.contains(r#"tests="1" skipped="1" errors="0" failures="0""#), "{xml}");
        assert!(xml.contains(r#"<skipped message="no BTF">"#), "{xml}");
    }
}
