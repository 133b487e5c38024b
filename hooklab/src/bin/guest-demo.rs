//! Shows what one program does, in a guest.

use std::process::ExitCode;

fn main() -> ExitCode {
    hooklab_loader::demo::main()
}
