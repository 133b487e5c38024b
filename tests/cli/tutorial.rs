//! `docs/tutorial.md` and its Korean version: every command in them is run, and prints what they say it prints.
//!
//! In a ```` ```console ```` block, a line that begins with `$ ` is a command for the shell, in the checkout; what follows
//! it is its standard output and, where it fails, the errors that it tells of. `[..]` stands for what differs from run
//! to run, a line `...` for lines that do not matter here (snapbox's documentation).

use std::fs;
#[cfg(feature = "lab")]
use std::process::Command;

#[cfg(feature = "lab")]
use crate::support::{Ran, TestEnv};
#[cfg(feature = "lab")]
use snapbox::Assert;

use crate::support::root;

/// A command, and what it prints.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    output: String,
}

fn steps(page: &str) -> Vec<Step> {
    let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
    let mut steps: Vec<Step> = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => in_block = line == "```console",
            Some(command) if in_block => {
                steps.push(Step { command: command.to_owned(), output: String::new() });
            }
            None if in_block => {
                let step = steps.last_mut().expect("a block begins with a command");
                step.output += &format!("{line}\n");
            }
            _ => {}
        }
    }
    steps
}

#[test]
fn both_languages_have_the_same_commands() {
    let english = steps("tutorial.md");
    assert!(english.len() > 8, "{english:#?}");
    assert_eq!(english, steps("tutorial.ko.md"));
}

#[cfg(feature = "lab")]
#[test]
fn every_command_prints_what_it_is_said_to() {
    let env = TestEnv::shared();
    for Step { command, output: expected } in steps("tutorial.md") {
        let mut shell = env.prepare(Command::new("sh"));
        let Ran { code, stdout: mut printed, stderr: said, .. } =
            env.run_command(shell.args(["-c", &command]));
        if code != Some(0) {
            printed.extend(
                said.lines().filter(|line| line.starts_with("error: ")).map(|line| format!("{line}\n")),
            );
        }
        // Commands that succeed where the page shows an error, and the reverse, differ in what they print.
        Assert::new()
            .normalize_paths(false)
            .try_eq(Some(&command), printed.into(), expected.into())
            .unwrap_or_else(|error| panic!("$ {command}\n{error}\non standard error:\n{said}"));
    }
}
