//! PID 1 of a guest.

use std::process::ExitCode;

fn main() -> ExitCode {
    hooklab_agent::main()
}
