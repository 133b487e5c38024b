//! The JUnit report: a suite for each kernel, a case for each test.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use hooklab_vm::event::{Attempt, Outcome};
use hooklab_vm::host::write_whole;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};

use super::summary::{Cell, Kernel, Summary};

/// Writes the report to `path`, whole or not at all.
pub fn write(summary: &Summary, path: &Path) -> Result<()> {
    let xml = report(summary).to_string().context("failed to make the JUnit report")?;
    Ok(write_whole(path, xml.as_bytes())?)
}

fn report(summary: &Summary) -> Report {
    let mut report = Report::new("hooklab");
    report.set_time(Duration::from_secs_f64(summary.wall_seconds));
    report.add_test_suites(summary.kernels.iter().map(suite));
    report
}

fn suite(kernel: &Kernel) -> TestSuite {
    let mut suite = TestSuite::new(kernel.spec.as_str());
    suite.set_time(Duration::from_secs_f64(kernel.wall_seconds));
    if let Some(release) = &kernel.release {
        suite.add_property(("release", release.as_str()));
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
        Outcome::Ignored => TestCaseStatus::skipped(),
        other => TestCaseStatus::non_success(kind(other)),
    };
    status.add_reruns(cell.earlier.iter().map(rerun));
    if let Some(message) = &cell.message {
        status.set_message(first_line(message)).set_description(message.as_str());
    }
    let mut case = TestCase::new(cell.title(), status);
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
