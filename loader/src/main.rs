//! The binary: reads the command line, runs, and turns an error into a message and an exit code.

use std::process::ExitCode;

use hooklab_loader::{cli, loaders, sibling};

fn main() -> ExitCode {
    if sibling::is_asked_for(std::env::args_os()) {
        return cli::exit(sibling::become_it());
    }
    let names = loaders::ALL.iter().map(|loader| loader.name()).chain(sibling::LOADERS);
    let matches = cli::command(names).get_matches();
    cli::exit(cli::execute(&matches, loaders::ALL))
}
