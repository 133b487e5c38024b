//! The agent's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    hooklab_agent::main()
}
