//! The loaders that take packages only, as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    hooklab_loader_eunomia::main()
}
