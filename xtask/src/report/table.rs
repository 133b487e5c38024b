//! The table at the end: kernels down, loaders across, then a paragraph for each failure.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use console::style;
use hooklab_vm::console::printable;
use hooklab_vm::event::{Outcome, Start};

use super::summary::{Cell, Kernel, KernelOutcome, Summary};

/// How an outcome is called in a line.
pub(crate) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "pass",
        Outcome::Failed => "FAIL",
        Outcome::TimedOut => "TIMEOUT",
        Outcome::Crashed => "CRASH",
        Outcome::Leaked => "LEAK",
        Outcome::Ignored => "ignored",
    }
}

/// Seconds in a fixed width.
pub(crate) fn seconds(seconds: f64) -> String {
    format!("{seconds:>6.2} s")
}

/// `text`, made safe for a terminal, moved to the right.
pub(crate) fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {}", printable(line))).collect::<Vec<_>>().join("\n")
}

/// The table, as text.
pub(crate) fn table(summary: &Summary) -> String {
    let columns = columns(summary);
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let mut header = vec!["KERNEL".to_owned(), "RELEASE".to_owned(), "START".to_owned()];
    header.extend(columns.iter().map(|column| column.clone().unwrap_or_else(|| "other".into())));
    header.extend(["TIME".to_owned(), "RESULT".to_owned()]);
    let last = header.len();
    table.set_header(header);
    for kernel in &summary.kernels {
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
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// The loaders that have tests, and at last the tests that are no one loader's.
fn columns(summary: &Summary) -> Vec<Option<String>> {
    let cells = summary.kernels.iter().flat_map(|kernel| &kernel.tests);
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
    let counts = |cell: &&Cell| cell.loader.as_deref() == loader && cell.outcome != Outcome::Ignored;
    let cells: Vec<&Cell> = kernel.tests.iter().filter(counts).collect();
    let passed = cells.iter().filter(|cell| cell.outcome == Outcome::Passed).count();
    format!("{passed}/{}", cells.len())
}

fn result(kernel: &Kernel) -> String {
    match kernel.outcome {
        KernelOutcome::Passed => style("passed").green(),
        KernelOutcome::Failed => style("FAILED").red().bold(),
        KernelOutcome::Error => style("ERROR").red().bold(),
    }
    .to_string()
}

/// A paragraph for each kernel that is in error, and each test that did not pass.
pub(crate) fn failures(summary: &Summary) -> String {
    let mut text = String::new();
    for kernel in &summary.kernels {
        if let Some(error) = &kernel.error {
            text.push_str(&format!(
                "\n{} {}\n{}\n",
                style("ERROR").red().bold(),
                kernel.spec,
                indented(error)
            ));
        }
        for cell in kernel.tests.iter().filter(|cell| !cell.is_fine()) {
            let word = style(outcome_word(cell.outcome)).red().bold();
            text.push_str(&format!("\n{word} {} on {}\n", cell.title(), kernel.spec));
            text.push_str(&indented(cell.message.as_deref().unwrap_or_default()));
            text.push('\n');
        }
    }
    text
}

/// The last line.
pub(crate) fn verdict(summary: &Summary) -> String {
    let (passed, failed, ignored) = summary.counts();
    let skipped = if ignored > 0 { format!(", {ignored} skipped") } else { String::new() };
    let not_run = match summary.kernels.iter().map(|kernel| kernel.not_run).sum() {
        0 => String::new(),
        count => format!("\n{count} tests were not run"),
    };
    format!("{passed} passed, {failed} failed{skipped}{not_run}")
}
