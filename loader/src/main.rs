//! The loaders as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    hooklab_loader::main()
}
