//! What guests answer, put into the report.
//!
//! The host knows which programs there are: a program without an answer, and an answer without a program, are errors of the
//! lab's, and never a verdict. What a guest says is bounded and cannot control a terminal.

use std::collections::HashMap;
use std::sync::Mutex;

use hooklab_types::explain::{
    Cause, Explained, Map, OBJECT_FILE, ObjectAnswer, ObjectDetails, ProgramAnswer, Unit, Verdict,
};
use hooklab_types::report::{Cell, Kernel, KernelOutcome, Load, Report};
use hooklab_types::test::{Outcome, TestId};
use hooklab_vm::event::{Event, Observer};
use hooklab_vm::qemu::console::printable;

use super::object::{MOST_PROGRAMS, Object, Program};

/// The name of the cells in a report.
pub const TEST: &str = "explain";

/// Most maps, and most bytes of a name, a text and a log.
const MOST_MAPS: usize = 256;
const NAME_BYTES: usize = 100;
const TEXT_BYTES: usize = 500;
const LOG_BYTES: usize = 512 << 10;

/// Files by their paths.
type Files = HashMap<String, String>;

/// Collects what comes back from guests, by kernel and test.
#[derive(Default)]
pub struct Answers(Mutex<HashMap<(String, TestId), Files>>);

impl Observer for Answers {
    fn notify(&self, event: Event) {
        let Ok(mut answers) = self.0.lock() else { return };
        match event {
            Event::File { spec, test, path, content } => {
                let files = answers.entry((spec, test)).or_default();
                if files.len() <= 2 * MOST_PROGRAMS {
                    files.insert(path, content);
                }
            }
            // Of a test that is run again, the last answer counts.
            Event::TestRetried { spec, test, .. } => drop(answers.remove(&(spec, test))),
            _ => {}
        }
    }
}

/// Puts the answers into the cells of the tests, and finds out how each kernel did.
pub fn fill(
    report: &mut Report,
    answers: Answers,
    binary: &str,
    objects: &[Object],
    units: &[(usize, Unit)],
) {
    let mut answers = answers.0.into_inner().unwrap_or_default();
    for kernel in &mut report.kernels {
        for (place, (object, unit)) in units.iter().enumerate() {
            let is_its = |cell: &&mut Cell| cell.name == unit.test && cell.loader.is_none();
            let Some(cell) = kernel.tests.iter_mut().find(is_its) else {
                kernel.error.get_or_insert_with(|| printable(&format!("{}: it was not tried", unit.test)));
                continue;
            };
            let test = TestId { binary: binary.to_owned(), name: unit.test.clone() };
            let files = answers.remove(&(kernel.spec.clone(), test)).unwrap_or_default();
            if let Err(error) = fill_cell(cell, &files, place, &objects[*object], unit) {
                kernel.error.get_or_insert_with(|| printable(&format!("{}: {error}", unit.test)));
            }
        }
        kernel.outcome = outcome(kernel);
    }
}

fn outcome(kernel: &Kernel) -> KernelOutcome {
    let mut programs = kernel.tests.iter().flat_map(|cell| &cell.loads);
    let is_fine = |load: &Load| load.explained.as_ref().is_some_and(|explained| explained.verdict.is_fine());
    match () {
        () if kernel.error.is_some() => KernelOutcome::Error,
        () if programs.all(is_fine) => KernelOutcome::Passed,
        () => KernelOutcome::Failed,
    }
}

/// Puts the answer into a cell; an error of the lab's if there is no whole one.
fn fill_cell(
    cell: &mut Cell,
    files: &Files,
    place: usize,
    object: &Object,
    unit: &Unit,
) -> Result<(), String> {
    let left_behind = cell.outcome == Outcome::Leaked;
    if !matches!(cell.outcome, Outcome::Passed | Outcome::Flaky | Outcome::Leaked) {
        return Err(cell.message.clone().unwrap_or_else(|| "it did not end well".into()));
    }
    let (loads, details) = read(files, place, object, unit)?;
    let refused =
        loads.iter().filter(|load| !load.explained.as_ref().is_some_and(|one| one.verdict.is_fine()));
    let refused: Vec<&str> = refused.map(|load| load.program.as_str()).collect();
    if !refused.is_empty() {
        cell.outcome = Outcome::Failed;
        let left = cell.message.take().filter(|_| left_behind);
        let left = left.map(|left| format!("\n{left}")).unwrap_or_default();
        cell.message = Some(format!("not loaded: {}{left}", refused.join(", ")));
    }
    cell.name = TEST.to_owned();
    cell.loader = Some(unit.loader.to_string());
    cell.program = Some(object.name.clone());
    (cell.loads, cell.object) = (loads, Some(details));
    Ok(())
}

/// Reads the answer about an object: every program of it, and no other.
fn read(
    files: &Files,
    place: usize,
    object: &Object,
    unit: &Unit,
) -> Result<(Vec<Load>, ObjectDetails), String> {
    let file = |name: &str| files.get(&format!("{place}/{name}"));
    let text = file(OBJECT_FILE).ok_or("the guest sent no answer")?;
    let answer: ObjectAnswer =
        serde_json::from_str(text).map_err(|error| format!("the guest's answer makes no sense: {error}"))?;
    if let Some(cause) = answer.cause {
        if answer.programs != 0 {
            return Err("the guest answered for programs of an object that it could not open".into());
        }
        let loads = object.programs.iter().map(|program| unopened(program, object, unit, &cause));
        return Ok((loads.collect(), plain_details(answer.details)));
    }
    let mut told: HashMap<String, ProgramAnswer> = HashMap::new();
    for number in 0..answer.programs.min(MOST_PROGRAMS) {
        let text = file(&format!("{number}.json")).ok_or("the guest did not answer for every program")?;
        let mut program: ProgramAnswer = serde_json::from_str(text)
            .map_err(|error| format!("the guest's answer makes no sense: {error}"))?;
        program.explained.log = file(&format!("{number}.log")).cloned();
        if told.insert(program.name.clone(), program).is_some() {
            return Err("the guest answered twice for a program".into());
        }
    }
    let mut loads = Vec::new();
    for program in &object.programs {
        let Some(answer) = told.remove(&program.name) else {
            return Err(format!("the guest did not answer for the program {}", program.name));
        };
        loads.push(Load {
            loader: unit.loader,
            object: object.name.clone(),
            program: program.name.clone(),
            cost: answer.cost,
            explained: Some(plain(answer.explained, program)),
        });
    }
    if let Some(other) = told.keys().next() {
        return Err(format!("the guest answered for {other}, which is no program of {}", object.name));
    }
    Ok((loads, plain_details(answer.details)))
}

/// A program of an object that the loader could not open.
fn unopened(program: &Program, object: &Object, unit: &Unit, cause: &Cause) -> Load {
    let explained = Explained {
        section: program.section.clone(),
        kind: None,
        verdict: Verdict::NotTried,
        cause: Some(cause.clone()),
        seconds: None,
        log: None,
    };
    Load {
        loader: unit.loader,
        object: object.name.clone(),
        program: program.name.clone(),
        cost: hooklab_types::loader::Cost::default(),
        explained: Some(plain(explained, program)),
    }
}

/// The same, with texts that are bounded, and with the section that the host read.
fn plain(explained: Explained, program: &Program) -> Explained {
    let line = |text: String| shortened(&printable(&text).replace('\n', " "), TEXT_BYTES);
    let cause = explained.cause.map(|cause| Cause {
        class: cause.class,
        text: line(cause.text),
        source: cause.source.map(line),
        instruction: cause.instruction.map(line),
    });
    Explained {
        section: program.section.clone(),
        kind: explained.kind.filter(|kind| is_name(kind)),
        verdict: explained.verdict,
        cause,
        seconds: explained
            .seconds
            .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
            .map(to_microseconds),
        log: explained.log.map(|log| shortened(&log, LOG_BYTES)),
    }
}

fn to_microseconds(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// The same, as far as its names are names.
fn plain_details(details: ObjectDetails) -> ObjectDetails {
    let is_plain =
        |map: &Map| is_name(&map.name) && map.kind.len() <= NAME_BYTES && printable(&map.kind) == map.kind;
    ObjectDetails {
        maps: details.maps.into_iter().filter(is_plain).take(MOST_MAPS).collect(),
        unread_globals: details
            .unread_globals
            .into_iter()
            .filter(|name| is_name(name))
            .take(MOST_MAPS)
            .collect(),
    }
}

/// Whether this is what maps, globals and types are called.
fn is_name(text: &str) -> bool {
    let plain = |character: char| character.is_ascii_alphanumeric() || "._-+$".contains(character);
    !text.is_empty() && text.len() <= NAME_BYTES && text.chars().all(plain)
}

fn shortened(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
