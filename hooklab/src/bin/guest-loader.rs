//! The loaders aya and libbpf, in a guest.

use std::process::ExitCode;

fn main() -> ExitCode {
    hooklab_loader::main()
}
