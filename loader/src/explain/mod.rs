//! What `hooklab explain` runs in a guest: tries each program of an object, and says how far it came, why no further,
//! and what it cost.
//!
//! The agent runs it as it runs a libtest binary: each object with each loader is a test. What came of it goes into
//! files, which travel back to the host. A verdict is never guessed: a program counts as loaded if the kernel knows it by
//! the file descriptor that the loader has of it.

mod classify;
mod globals;
mod helpers;
mod kernel;
mod libbpf;
mod log;
mod probe;
mod statistics;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use hooklab_types::explain::{
    DIRECTORY, JOB_VARIABLE, Job, OBJECT_FILE, ObjectAnswer, ObjectDetails, ProgramAnswer, Unit,
};
use hooklab_types::loader::LoaderKind;

use crate::preflight;

/// Whether this process is to explain something.
pub fn is_asked_for() -> bool {
    env::var_os(JOB_VARIABLE).is_some()
}

/// Explains the object that the arguments name as a test, and answers as libtest does.
pub fn main() -> ExitCode {
    println!("\nrunning 1 test");
    match explain() {
        Ok(test) => {
            println!("test {test} ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error}\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored");
            ExitCode::from(101)
        }
    }
}

/// What was found out about an object.
struct Findings {
    object: ObjectAnswer,
    programs: Vec<ProgramAnswer>,
}

fn explain() -> io::Result<String> {
    let job: Job = serde_json::from_str(&env::var(JOB_VARIABLE).map_err(io::Error::other)?)?;
    let words: Vec<String> = env::args().skip(1).collect();
    let asked = |unit: &&Unit| words.contains(&unit.test);
    let Some((place, unit)) = job.units.iter().enumerate().find(|(_, unit)| asked(unit)) else {
        return Err(io::Error::other("the job has no such object"));
    };
    let payload =
        PathBuf::from(env::var_os("HOOKLAB_PAYLOAD").ok_or(io::Error::other("HOOKLAB_PAYLOAD is not set"))?);
    let bytes = fs::read(payload.join(&unit.file))?;
    preflight::lift_memory_limit();
    let mut findings = match unit.loader {
        LoaderKind::Libbpf => libbpf::explain(&bytes, Path::new(&unit.file), job.attach),
        other => return Err(io::Error::other(format!("{other} cannot be explained"))),
    };
    let ObjectDetails { unread_globals, .. } = &mut findings.object.details;
    *unread_globals = globals::unread(&bytes);
    write(&payload.join(DIRECTORY).join(place.to_string()), findings)?;
    Ok(unit.test.clone())
}

/// Writes the answers, the object's last: it says how many others there must be.
fn write(directory: &Path, findings: Findings) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (number, mut program) in findings.programs.into_iter().enumerate() {
        // Logs may be long, and an answer without its log is better than none.
        if let Some(log) = program.explained.log.take() {
            fs::write(directory.join(format!("{number}.log")), log)?;
        }
        fs::write(directory.join(format!("{number}.json")), serde_json::to_vec(&program)?)?;
    }
    fs::write(directory.join(OBJECT_FILE), serde_json::to_vec(&findings.object)?)
}
