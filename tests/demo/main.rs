//! What `cargo xtask run` shows: one program, one loader, two processes that write, and what came out of the trace.
//!
//! A libtest binary, so that it runs as the tests do. The environment says what to run (`HOOKLAB_DEMO_*`); what came
//! of it goes into a file, which travels back to the host as snapshots do.
#![cfg(feature = "guest")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::{env, fs};

use serde_json::{Value, json};

use crate::actor::Actor;

#[path = "../guest/support/actor.rs"]
#[expect(dead_code, reason = "it can do more than is shown here")]
mod actor;
#[path = "../guest/support/payload.rs"]
mod payload;

/// How often each of the two writes; told apart by it where no PID is looked at.
const WRITES: [u32; 2] = [3, 2];

#[test]
fn show() {
    let mut actors = [Actor::start(), Actor::start()];
    let pids = [actors[0].pid(), actors[1].pid()];
    let mut command = command(pids[0]);
    let mut loader =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(loader.stdout.take().unwrap());
    let mut attached = String::new();
    output.read_line(&mut attached).unwrap();
    if !attached.is_empty() {
        for (actor, count) in actors.iter_mut().zip(WRITES) {
            actor.write(count);
        }
    }
    // Its end of input tells the loader to detach, after it has printed what is left in the trace.
    drop(loader.stdin.take());
    let (mut trace, mut said) = (String::new(), String::new());
    output.read_to_string(&mut trace).unwrap();
    loader.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let shown = json!({
        "code": loader.wait().unwrap().code(),
        "attached": serde_json::from_str::<Value>(&attached).ok(),
        "actors": [{ "pid": pids[0], "writes": WRITES[0] }, { "pid": pids[1], "writes": WRITES[1] }],
        "trace": trace,
        "error": said,
    });
    let folder = payload::path("shown");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("shown.json"), shown.to_string()).unwrap();
}

/// The loader's command line; `writer` is the PID that a filter of that name stands for.
fn command(writer: u32) -> Command {
    let variable = |name: &str| env::var(format!("HOOKLAB_DEMO_{name}")).unwrap_or_default();
    let loader = variable("LOADER");
    let mut command = Command::new(payload::path("bin/hooklab-loader"));
    command.current_dir(payload::path("objects"));
    command.args(["run", "--trace", "--loader", &loader]).arg(variable("PROGRAM"));
    let pid = match variable("FILTER").as_str() {
        "writer" => writer.to_string(),
        other => other.to_owned(),
    };
    if !pid.is_empty() {
        // The flags of a package are named after its variables.
        command.args([
            if matches!(&*loader, "eunomia" | "ecli") { "--pid_filter" } else { "--pid-filter" },
            &pid,
        ]);
    }
    command
}
