//! `cargo hooklab COMMAND`: the same as `hooklab COMMAND`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Cargo repeats its subcommand's name as the first argument (the Cargo book, "Custom subcommands").
    let mut words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "hooklab") {
        words.remove(1);
    }
    hooklab::main(words)
}
