//! `hooklab COMMAND`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hooklab::main(std::env::args_os())
}
