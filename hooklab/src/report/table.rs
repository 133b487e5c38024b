//! The table at the end: kernels down, loaders across, then a paragraph for each failure.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, ContentArrangement, Table, TableStyle, presets};
use console::style;
use hooklab_types::kernel::Start;
use hooklab_types::report::{Cell, Kernel, KernelOutcome, Report};
use hooklab_types::test::Outcome;
use hooklab_vm::qemu::console::printable;

use crate::naming::Name;

/// How an outcome is called in a line.
pub fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "pass",
        Outcome::Flaky => "FLAKY",
        Outcome::Failed => "FAIL",
        Outcome::TimedOut => "TIMEOUT",
        Outcome::Crashed => "CRASH",
        Outcome::Leaked => "LEAK",
        Outcome::Ignored => "ignored",
        // As automake calls it.
        Outcome::Unsupported => "skip",
    }
}

/// Seconds in a fixed width.
pub fn seconds(seconds: f64) -> String {
    format!("{seconds:>6.2} s")
}

/// `text`, made safe for a terminal, moved to the right.
pub fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {}", printable(line))).collect::<Vec<_>>().join("\n")
}

/// The table, as text.
pub fn table(report: &Report) -> String {
    lines(&grid(report, presets::NOTHING))
}

/// The table, as Markdown.
pub fn markdown(report: &Report) -> String {
    lines(&grid(report, presets::ASCII_MARKDOWN))
}

/// A table's lines, without blanks at their ends.
pub fn lines(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn grid(report: &Report, style: TableStyle) -> Table {
    let columns = columns(report);
    let mut table = Table::new();
    table.load_style(style).set_content_arrangement(ContentArrangement::Disabled);
    let mut header = vec!["KERNEL".to_owned(), "RELEASE".to_owned(), "START".to_owned()];
    // Tests that are no loader's, beside those that are; or all there are.
    let others = if columns.len() > 1 { "other" } else { "tests" };
    header.extend(columns.iter().map(|column| column.clone().unwrap_or_else(|| others.into())));
    header.extend(["TIME".to_owned(), "RESULT".to_owned()]);
    let last = header.len();
    table.set_header(header);
    for kernel in &report.kernels {
        let mut row =
            vec![kernel.spec.clone(), kernel.release.clone().unwrap_or_else(|| "-".into()), start(kernel)];
        row.extend(columns.iter().map(|column| tally(kernel, column.as_deref())));
        row.extend([format!("{:.1} s", kernel.wall_seconds), result(kernel)]);
        table.add_row(row);
    }
    for column in 3..last.saturating_sub(1) {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The loaders that have tests, and at last the tests that are no one loader's.
fn columns(report: &Report) -> Vec<Option<String>> {
    let cells = report.kernels.iter().flat_map(|kernel| &kernel.tests);
    let mut columns: Vec<Option<String>> = cells.map(|cell| cell.loader.clone()).collect();
    columns.sort_by_key(|column| (column.is_none(), column.clone()));
    columns.dedup();
    columns
}

fn start(kernel: &Kernel) -> String {
    match kernel.start {
        Some(Start::Boot) => format!("boot {:.1} s", kernel.boot_seconds),
        Some(Start::Resume) => format!("resume {:.1} s", kernel.boot_seconds),
        Some(Start::Host) => "host".into(),
        None => "-".into(),
    }
}

fn tally(kernel: &Kernel, loader: Option<&str>) -> String {
    let counts = |cell: &&Cell| cell.loader.as_deref() == loader && cell.outcome.has_run();
    let cells: Vec<&Cell> = kernel.tests.iter().filter(counts).collect();
    let passed = cells.iter().filter(|cell| cell.outcome == Outcome::Passed).count();
    format!("{passed}/{}", cells.len())
}

fn result(kernel: &Kernel) -> String {
    match kernel.outcome {
        KernelOutcome::Passed if kernel.flaky() > 0 => style("flaky").yellow().bold(),
        KernelOutcome::Passed if kernel.supports_none() => style("unsupported").yellow(),
        KernelOutcome::Passed => style("passed").green(),
        KernelOutcome::Failed => style("FAILED").red().bold(),
        KernelOutcome::Error => style("ERROR").red().bold(),
    }
    .to_string()
}

/// Each kernel that is in error, and each test that did not pass, or not at once: what it is, and why.
pub fn problems(report: &Report) -> Vec<(Headline, &str)> {
    let mut problems = Vec::new();
    for kernel in &report.kernels {
        let error = kernel.error.as_deref();
        problems.extend(error.map(|error| (Headline { word: "ERROR", what: kernel.spec.clone() }, error)));
        for cell in
            kernel.tests.iter().filter(|cell| !cell.outcome.is_fine() || cell.outcome == Outcome::Flaky)
        {
            let times = match cell.earlier.len() + 1 {
                1 => String::new(),
                times => format!(", run {times} times"),
            };
            let what = format!("{} on {}{times}", Name::from(cell), kernel.spec);
            let headline = Headline { word: outcome_word(cell.outcome), what };
            // Of a flaky test the first failure is what there is to see.
            let first = cell.earlier.first().and_then(|attempt| attempt.message.as_deref());
            problems.push((headline, cell.message.as_deref().or(first).unwrap_or_default()));
        }
    }
    problems
}

/// The headline of something that went wrong.
pub struct Headline {
    /// How it went wrong.
    pub word: &'static str,
    /// The kernel, or the test and the kernel.
    pub what: String,
}

/// A paragraph for each of [`problems`].
pub fn failures(report: &Report) -> String {
    let paragraph = |(Headline { word, what }, message): (Headline, &str)| {
        format!("\n{} {what}\n{}\n", style(word).red().bold(), indented(message))
    };
    problems(report).into_iter().map(paragraph).collect()
}

/// The last line; after it, what was not run, and why.
pub fn verdict(report: &Report) -> String {
    let passed = report.count(|outcome| outcome == Outcome::Passed);
    let failed = report.count(|outcome| !outcome.is_fine());
    let counted = |count: usize, word: &str| match count {
        0 => String::new(),
        count => format!(", {count} {word}"),
    };
    let flaky = counted(report.kernels.iter().map(Kernel::flaky).sum(), "flaky");
    let skipped = counted(report.count(|outcome| outcome == Outcome::Ignored), "skipped");
    let unsupported = counted(report.count(|outcome| outcome == Outcome::Unsupported), "unsupported");
    let not_run = match report.kernels.iter().map(|kernel| kernel.not_run).sum() {
        0 => String::new(),
        1 => "\n1 test was not run".into(),
        count => format!("\n{count} tests were not run"),
    };
    let lacks: String = report.kernels.iter().flat_map(lacks).map(|line| format!("\n{line}")).collect();
    format!("{passed} passed, {failed} failed{flaky}{skipped}{unsupported}{not_run}{lacks}")
}

/// For each thing that the kernel lacks, how many tests need it.
fn lacks(kernel: &Kernel) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for cell in kernel.tests.iter().filter(|cell| cell.outcome == Outcome::Unsupported) {
        *counts.entry(cell.message.as_deref().unwrap_or("it does not say why")).or_default() += 1;
    }
    let all = if kernel.supports_none() { ", and no other test was run" } else { "" };
    let line = |(reason, count): (&str, usize)| {
        format!("{}: {count} unsupported{all}: {}", kernel.spec, printable(reason))
    };
    counts.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use hooklab_types::kernel::Accelerator;

    use super::*;

    fn kernel(spec: &str, outcomes: &[Outcome]) -> Kernel {
        let cell = |&outcome: &Outcome| Cell {
            message: (outcome == Outcome::Unsupported).then(|| "no BTF".into()),
            ..Cell::new("a", outcome)
        };
        let tests = outcomes.iter().map(cell).collect();
        Kernel { outcome: KernelOutcome::Passed, tests, ..Kernel::unknown(spec) }
    }

    fn report(kernels: Vec<Kernel>) -> Report {
        Report::new(Accelerator::Tcg, 0.0, kernels)
    }

    #[test]
    fn what_a_kernel_does_not_support_is_counted_beside_what_passed() {
        use Outcome::{Ignored, Passed, Unsupported};
        let report = report(vec![
            kernel("5.10", &[Unsupported, Ignored, Unsupported]),
            kernel("6.12", &[Passed, Ignored, Unsupported]),
            kernel("7.3", &[Passed, Ignored, Passed]),
        ]);
        assert_eq!(
            verdict(&report),
            "3 passed, 0 failed, 3 skipped, 3 unsupported\n\
             5.10: 2 unsupported, and no other test was run: no BTF\n\
             6.12: 1 unsupported: no BTF"
        );
        let table = console::strip_ansi_codes(&table(&report)).into_owned();
        let words: Vec<Vec<&str>> =
            table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        let result = |row: usize| [words[row][3], words[row][words[row].len() - 1]];
        assert_eq!(result(0), ["0/0", "unsupported"], "{table}");
        assert_eq!(result(1), ["1/1", "passed"], "{table}");
        assert!(failures(&report).is_empty());
    }
}
