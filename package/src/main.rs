//! The packager as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    hooklab_package::main()
}
