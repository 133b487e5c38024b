//! What `explain` found out: a table with kernels across and programs down, and the causes below it.

use std::fmt::Write as _;
use std::ops::Range;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use console::{Alignment, measure_text_width, pad_str, strip_ansi_codes, style};
use hooklab_types::explain::{CauseClass, Explained, Verdict};
use hooklab_types::report::{Cell, Kernel, Load, Report};
use hooklab_vm::qemu::console::printable;

use super::table::{indented, lines};

/// What a row of the table is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row<'a> {
    object: &'a str,
    program: &'a str,
    loader: &'a str,
}

/// A cause, and where it stands in the way.
struct Finding<'a> {
    class: CauseClass,
    text: &'a str,
    place: String,
    object: &'a str,
    programs: Vec<&'a str>,
    kernels: Vec<&'a str>,
}

/// The table, as text; in several, each of some kernels, where one would be wider than so many columns.
pub fn table(report: &Report, width: Option<usize>) -> String {
    let count = report.kernels.len().max(1);
    let of = |kernels: usize| -> Vec<String> {
        let starts = (0..count).step_by(kernels);
        starts.map(|start| aligned(&grid(report, start..start + kernels))).collect()
    };
    let is_narrow = |tables: &Vec<String>| {
        width.is_none_or(|width| {
            tables.iter().flat_map(|table| table.lines()).all(|line| measure_text_width(line) <= width)
        })
    };
    let tables = (2..=count).rev().map(of).find(is_narrow);
    tables.unwrap_or_else(|| of(if width.is_none() { count } else { 1 })).join("\n\n")
}

/// All that a person may want to read, as Markdown.
pub fn markdown(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    let plain = |row: Vec<String>| row.into_iter().map(|cell| strip_ansi_codes(&cell).into_owned());
    let mut rows = grid(report, 0..report.kernels.len()).into_iter().map(plain);
    table.set_header(rows.next().into_iter().flatten());
    for row in rows {
        table.add_row(row);
    }
    let plain = lines(&table);
    let causes = causes(report);
    let fence = "`".repeat(longest_run(&causes).max(2) + 1);
    let causes = if causes.is_empty() { causes } else { format!("\n\n{fence}text\n{causes}\n{fence}") };
    format!("{plain}\n\n{}{causes}\n", verdict(report))
}

/// The longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or(0)
}

/// Programs down, these kernels across; the header first.
fn grid(report: &Report, kernels: Range<usize>) -> Vec<Vec<String>> {
    let rows = rows(report);
    let several = |of: fn(&Row<'_>) -> String| rows.iter().any(|row| of(row) != of(&rows[0]));
    let (objects, loaders) = (several(|row| row.object.into()), several(|row| row.loader.into()));
    let mut header: Vec<String> = Vec::new();
    header.extend(objects.then(|| "OBJECT".into()));
    header.push("PROGRAM".into());
    header.extend(loaders.then(|| "LOADER".into()));
    let shown = |(place, _): &(usize, &Kernel)| kernels.contains(place);
    header.extend(report.kernels.iter().enumerate().filter(shown).map(|(_, kernel)| kernel.spec.clone()));
    let mut table = vec![header];
    for row in &rows {
        let mut cells: Vec<String> = Vec::new();
        cells.extend(objects.then(|| escaped(row.object)));
        cells.push(escaped(row.program));
        cells.extend(loaders.then(|| row.loader.to_owned()));
        let mut before = None;
        for (place, kernel) in report.kernels.iter().enumerate() {
            let load = find(kernel, *row);
            if kernels.contains(&place) {
                cells.push(cell(kernel, load, before));
            }
            before = load.and_then(|load| load.cost.verified_instructions).or(before);
        }
        table.push(cells);
    }
    table
}

/// A table's lines. Colours take no place in them, for which the crate that makes the other tables does not allow.
fn aligned(table: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = table.iter().filter_map(|row| row.get(column));
        cells.map(|cell| measure_text_width(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.first().map_or(0, Vec::len)).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(cell, width)| format!(" {} ", pad_str(cell, *width, Alignment::Left, None)));
        cells.collect::<String>().trim_end().to_owned()
    };
    table.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// All that the report knows of, in its order.
fn rows(report: &Report) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for load in report.kernels.iter().flat_map(explained) {
        let row = Row { object: &load.object, program: &load.program, loader: load.loader.name() };
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    rows
}

fn explained(kernel: &Kernel) -> impl Iterator<Item = &Load> {
    kernel.tests.iter().flat_map(|cell| &cell.loads).filter(|load| load.explained.is_some())
}

fn find<'a>(kernel: &'a Kernel, row: Row<'_>) -> Option<&'a Load> {
    let same = |load: &&Load| {
        load.object == row.object && load.program == row.program && load.loader.name() == row.loader
    };
    explained(kernel).find(same)
}

/// How far a program came; instructions, with the difference from the kernel before.
fn cell(kernel: &Kernel, load: Option<&Load>, before: Option<u32>) -> String {
    let Some((load, explained)) = load.and_then(|load| Some((load, load.explained.as_ref()?))) else {
        return if kernel.error.is_some() { style("ERROR").red().bold().to_string() } else { "-".into() };
    };
    let class = explained.cause.as_ref().map(|cause| cause.class.name());
    match explained.verdict {
        Verdict::Loaded | Verdict::Attached => {
            let instructions = load.cost.verified_instructions;
            let count = instructions.map(|count| format!(" {count}")).unwrap_or_default();
            let difference = match (before, instructions) {
                (Some(before), Some(now)) if before != now => {
                    style(format!(" {:+}", i64::from(now) - i64::from(before))).yellow().to_string()
                }
                _ => String::new(),
            };
            let remark = class.map(|class| format!(" {}", style(class).yellow())).unwrap_or_default();
            format!("{}{count}{difference}{remark}", style("ok").green())
        }
        Verdict::NotAttached => style("not attached").red().to_string(),
        Verdict::Refused | Verdict::NotTried => style(class.unwrap_or("refused")).red().to_string(),
    }
}

/// Each cause once: its class, the kernels that it holds for, and the programs.
pub fn causes(report: &Report) -> String {
    let mut text = String::new();
    for finding in findings(report) {
        let Finding { class, text: why, place, object, programs, kernels } = finding;
        let kernels = named(report, &kernels);
        let _ = writeln!(text, "{} on {kernels}: {why}", class.name());
        let programs: Vec<String> = programs.into_iter().map(printable).collect();
        let _ = writeln!(text, "    {}: {}{place}", printable(object), programs.join(", "));
    }
    for kernel in &report.kernels {
        if let Some(error) = &kernel.error {
            let _ = writeln!(text, "ERROR on {}:\n{}", kernel.spec, indented(error));
        }
    }
    for (object, names) in unread(report) {
        let _ = writeln!(
            text,
            "note: no instruction of {object} reads {}: setting it has no effect",
            names.join(", ")
        );
    }
    for (object, left, kernels) in left_behind(report) {
        let _ = writeln!(
            text,
            "note: {object} leaves something in the kernel on {}:\n{}",
            named(report, &kernels),
            indented(left)
        );
    }
    text.trim_end().to_owned()
}

/// Kernels in a sentence.
fn named(report: &Report, kernels: &[&str]) -> String {
    let is_all = kernels.len() > 2 && kernels.len() == report.kernels.len();
    if is_all { format!("all {} kernels", kernels.len()) } else { kernels.join(", ") }
}

fn findings(report: &Report) -> Vec<Finding<'_>> {
    // First the kernels of each cause of each program, then the programs that have the same cause on the same kernels.
    let mut single: Vec<Finding<'_>> = Vec::new();
    for row in rows(report) {
        for kernel in &report.kernels {
            let explained = find(kernel, row).and_then(|load| load.explained.as_ref());
            let Some((cause, explained)) = explained.and_then(|one| Some((one.cause.as_ref()?, one))) else {
                continue;
            };
            let place = place(explained);
            let same = |one: &&mut Finding<'_>| {
                (one.class, one.text, one.object) == (cause.class, &cause.text[..], row.object)
                    && one.programs == [row.program]
                    && one.place == place
            };
            match single.iter_mut().find(same) {
                // With two loaders, the same kernel comes twice.
                Some(one) if one.kernels.contains(&&kernel.spec[..]) => {}
                Some(one) => one.kernels.push(&kernel.spec),
                None => single.push(Finding {
                    class: cause.class,
                    text: &cause.text,
                    place,
                    object: row.object,
                    programs: vec![row.program],
                    kernels: vec![&kernel.spec],
                }),
            }
        }
    }
    let mut findings: Vec<Finding<'_>> = Vec::new();
    for one in single {
        let same = |other: &&mut Finding<'_>| {
            (other.class, other.text, other.object, &other.place)
                == (one.class, one.text, one.object, &one.place)
                && other.kernels == one.kernels
        };
        match findings.iter_mut().find(same) {
            Some(other) => other.programs.extend(one.programs),
            None => findings.push(one),
        }
    }
    findings
}

/// Where in the program the verifier stopped.
fn place(explained: &Explained) -> String {
    let Some(cause) = &explained.cause else { return String::new() };
    let source = cause.source.as_ref().map(|source| format!(", at `{source}`")).unwrap_or_default();
    let instruction = cause.instruction.as_ref();
    let instruction =
        instruction.map(|instruction| format!(", instruction {instruction}")).unwrap_or_default();
    format!("{source}{instruction}")
}

/// Objects with globals that no instruction reads; the same on every kernel.
fn unread(report: &Report) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for cell in report.kernels.iter().flat_map(|kernel| &kernel.tests) {
        let (Some(object), Some(details)) = (&cell.program, &cell.object) else { continue };
        let object = printable(object);
        if !details.unread_globals.is_empty() && !found.iter().any(|(known, _)| *known == object) {
            found.push((object, details.unread_globals.iter().map(|name| format!("`{name}`")).collect()));
        }
    }
    found
}

/// What objects leave in kernels, with the kernels.
fn left_behind(report: &Report) -> Vec<(String, &str, Vec<&str>)> {
    let mut found: Vec<(String, &str, Vec<&str>)> = Vec::new();
    for kernel in &report.kernels {
        let leaked = |cell: &&Cell| cell.outcome == hooklab_types::test::Outcome::Leaked;
        for cell in kernel.tests.iter().filter(leaked) {
            let object = printable(cell.program.as_deref().unwrap_or(&cell.name));
            let left = cell.message.as_deref().unwrap_or_default();
            match found.iter_mut().find(|(known, what, _)| *known == object && *what == left) {
                Some((_, _, kernels)) => kernels.push(&kernel.spec),
                None => found.push((object, left, vec![&kernel.spec])),
            }
        }
    }
    found
}

/// The verifier's logs of what was refused.
pub fn logs(report: &Report) -> String {
    let mut text = String::new();
    for kernel in &report.kernels {
        for load in explained(kernel) {
            if let Some(log) = load.explained.as_ref().and_then(|explained| explained.log.as_deref()) {
                let what = printable(&format!("{} of {} with {}", load.program, load.object, load.loader));
                let _ = writeln!(text, "\nlog of {what} on {}:\n{}", kernel.spec, indented(log));
            }
        }
    }
    text
}

/// What each program cost on each kernel, and the maps.
pub fn costs(report: &Report) -> String {
    let mut costs = Table::new();
    costs.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    costs.set_header([
        "PROGRAM",
        "KERNEL",
        "INSTRUCTIONS",
        "PEAK STATES",
        "STACK",
        "MACHINE CODE",
        "LOAD TIME",
    ]);
    let number = |number: Option<u32>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    for row in rows(report) {
        for kernel in &report.kernels {
            let Some(load) = find(kernel, row) else { continue };
            let seconds = load.explained.as_ref().and_then(|explained| explained.seconds);
            let Some(seconds) = seconds else { continue };
            costs.add_row([
                escaped(row.program),
                kernel.spec.clone(),
                number(load.cost.verified_instructions),
                number(load.cost.peak_states),
                number(load.cost.stack_depth),
                number(load.cost.jited_bytes),
                format!("{:.2} ms", seconds * 1000.0),
            ]);
        }
    }
    for column in 2..7 {
        if let Some(column) = costs.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let maps = maps(report);
    format!("{}\n\n{}", lines(&costs), lines(&maps))
}

fn maps(report: &Report) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["OBJECT", "MAP", "TYPE", "KEY", "VALUE", "ENTRIES", "BYTES"]);
    let mut seen: Vec<[String; 7]> = Vec::new();
    for cell in report.kernels.iter().flat_map(|kernel| &kernel.tests) {
        let (Some(object), Some(details)) = (&cell.program, &cell.object) else { continue };
        for map in &details.maps {
            let sizes = [map.key_size, map.value_size, map.max_entries].map(|size| size.to_string());
            let [key, value, entries] = sizes;
            let bytes = map.bytes.map_or_else(|| "?".into(), |bytes| bytes.to_string());
            let row = [escaped(object), map.name.clone(), map.kind.clone(), key, value, entries, bytes];
            if !seen.iter().any(|known| known[..6] == row[..6]) {
                seen.push(row);
            }
        }
    }
    seen.sort();
    for row in seen {
        table.add_row(row);
    }
    table
}

/// The last line.
pub fn verdict(report: &Report) -> String {
    let rows = rows(report);
    let is_fine = |row: &&Row<'_>| {
        let fine = |kernel: &Kernel| {
            let explained = find(kernel, **row).and_then(|load| load.explained.as_ref());
            explained.is_some_and(|explained| explained.verdict.is_fine())
        };
        report.kernels.iter().all(fine)
    };
    if rows.is_empty() {
        return "no kernel gave an answer".to_owned();
    }
    let fine = rows.iter().filter(is_fine).count();
    let kernels = match report.kernels.len() {
        1 => "the kernel".to_owned(),
        count => format!("all {count} kernels"),
    };
    let programs = if rows.len() == 1 { "program loads" } else { "programs load" };
    format!("{fine} of {} {programs} on {kernels}", rows.len())
}

/// A name of the user's own object, which draws nothing in a table.
fn escaped(text: &str) -> String {
    printable(text).replace(['|', '\n'], "\u{fffd}")
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
