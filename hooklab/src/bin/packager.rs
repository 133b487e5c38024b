//! Packs objects, on the host.

use std::process::ExitCode;

fn main() -> ExitCode {
    hooklab_package::main()
}
