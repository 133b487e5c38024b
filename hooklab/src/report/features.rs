//! What was learned of each kernel: what it can do, and what it made of the programs.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use comfy_table::{ContentArrangement, Table, TableStyle, presets};
use hooklab_types::kernel::Features;
use hooklab_types::report::{Kernel, Load, Report};

use super::table::lines;

/// Both tables, for a person.
pub fn text(report: &Report) -> String {
    let loads = loads(report, presets::NOTHING);
    let heading = "instructions that the verifier processed / bytes of machine code:";
    let loads = loads.map(|table| format!("\n\n{heading}\n{}", lines(&table))).unwrap_or_default();
    format!("{}{loads}", lines(&features(report, presets::NOTHING)))
}

/// What each kernel can do, for a person.
pub fn kernels(report: &Report) -> String {
    lines(&features(report, presets::NOTHING))
}

/// Both tables, as Markdown.
pub fn markdown(report: &Report) -> String {
    let loads = loads(report, presets::ASCII_MARKDOWN);
    let loads = loads.map(|table| {
        format!("\n\nInstructions that the verifier processed / bytes of machine code:\n\n{}", lines(&table))
    });
    format!("{}{}", lines(&features(report, presets::ASCII_MARKDOWN)), loads.unwrap_or_default())
}

/// Kernels down, what they can do across.
fn features(report: &Report, style: TableStyle) -> Table {
    let mut table = new_table(style);
    table.set_header(["KERNEL", "RELEASE", "BTF", "TRACEFS", "BPF LSM", "BPF JIT", "KPROBES", "FENTRY"]);
    for kernel in &report.kernels {
        let release = kernel.release.clone().unwrap_or_else(|| "-".into());
        let features = match kernel.features {
            None => ["-"; 6],
            Some(Features { btf, tracefs, bpf_lsm, bpf_jit, kprobes, fentry }) => {
                [btf, tracefs, bpf_lsm, bpf_jit, kprobes, fentry]
                    .map(|holds| if holds { "yes" } else { "no" })
            }
        };
        table.add_row([kernel.spec.clone(), release].into_iter().chain(features.map(str::to_owned)));
    }
    table
}

/// Loaders and programs down, kernels across; nothing if nothing was loaded.
fn loads(report: &Report, style: TableStyle) -> Option<Table> {
    let key = |load: &Load| [load.object.clone(), load.program.clone(), load.loader.to_string()];
    let of =
        |kernel: &Kernel| -> Vec<Load> { kernel.tests.iter().flat_map(|cell| cell.loads.clone()).collect() };
    let by_kernel: Vec<Vec<Load>> = report.kernels.iter().map(of).collect();
    let mut rows: BTreeMap<[String; 3], Vec<String>> = BTreeMap::new();
    for load in by_kernel.iter().flatten() {
        rows.entry(key(load)).or_default();
    }
    for ([object, program, loader], cells) in &mut rows {
        for loads in &by_kernel {
            let same = |load: &&Load| {
                load.object == *object && load.program == *program && load.loader.name() == *loader
            };
            cells.push(cost(&loads.iter().filter(same).collect::<Vec<_>>()));
        }
    }
    if rows.is_empty() {
        return None;
    }
    let mut table = new_table(style);
    let kernels = report.kernels.iter().map(|kernel| kernel.spec.clone());
    table.set_header(["OBJECT", "PROGRAM", "LOADER"].map(str::to_owned).into_iter().chain(kernels));
    for (key, cells) in rows {
        table.add_row(key.into_iter().chain(cells));
    }
    Some(table)
}

fn new_table(style: TableStyle) -> Table {
    let mut table = Table::new();
    table.load_style(style).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// What the same program cost; a range where that depended on how it was loaded, such as with a filter.
fn cost(loads: &[&Load]) -> String {
    if loads.is_empty() {
        return "-".into();
    }
    let range = |of: fn(&Load) -> Option<u32>| {
        let values = || loads.iter().filter_map(|load| of(load));
        match (values().min(), values().max()) {
            (Some(least), Some(most)) => span(least..=most),
            _ => "?".into(),
        }
    };
    format!("{} / {}", range(|load| load.cost.verified_instructions), range(|load| load.cost.jited_bytes))
}

fn span(range: RangeInclusive<u32>) -> String {
    match range.start() == range.end() {
        true => range.start().to_string(),
        false => format!("{}-{}", range.start(), range.end()),
    }
}
