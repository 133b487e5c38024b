//! The binary: reads the command line, runs, and turns an error into a message and an exit code.

use std::process::ExitCode;

use hooklab_loader::{cli, loaders};

fn main() -> ExitCode {
    let matches = cli::command(loaders::ALL).get_matches();
    match cli::execute(&matches, loaders::ALL) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: failed to {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
