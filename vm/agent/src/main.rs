//! The agent as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    hooklab_agent::main()
}
