//! The results as Markdown, for the summary of a CI's run.

use std::path::Path;

use anyhow::Result;
use hooklab_types::report::Report;
use hooklab_vm::host::write_whole;

use console::strip_ansi_codes;
use hooklab_vm::qemu::console::printable;

use super::table::{self, Headline};

/// Writes the report to `path`, whole or not at all.
///
/// # Errors
/// It cannot be written.
pub fn write(report: &Report, path: &Path) -> Result<()> {
    Ok(write_whole(path, format!("{}\n", markdown(report)).as_bytes())?)
}

/// The table, a paragraph for each failure, and the verdict.
pub fn markdown(report: &Report) -> String {
    let table = table::markdown(report);
    let verdict: Vec<String> = table::verdict(report).lines().map(escaped).collect();
    let mut text = format!("{}\n\n{}\n", strip_ansi_codes(&table), verdict.join("\n\n"));
    for (Headline { word, what }, message) in table::problems(report) {
        // Longer than any fence in the message, so that nothing in it ends the block.
        let longest = message.split(|character| character != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        let message: Vec<String> = message.lines().map(printable).collect();
        text.push_str(&format!(
            "\n### {word} {}\n\n{fence}text\n{}\n{fence}\n",
            escaped(&what),
            message.join("\n")
        ));
    }
    text
}

/// What Markdown and HTML would take for their own.
fn escaped(text: &str) -> String {
    let special = |character| "\\`*_{}[]<>#|&".contains(character);
    printable(text).chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}
