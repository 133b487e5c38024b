//! The loaders that come with eunomia's engine, in a guest.

use std::process::ExitCode;

fn main() -> ExitCode {
    hooklab_loader_eunomia::main()
}
