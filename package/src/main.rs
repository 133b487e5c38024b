//! The binary: describes a compiled object, and writes the files of a package.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hooklab_package::{Error, describe, read, write};

/// Packs a compiled eBPF object: writes NAME.bpf.o, NAME.skel.json and package.json
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// An object, as clang writes it with -g
    object: PathBuf,
    /// What the files are named after, as NAME in NAME.bpf.c
    #[arg(long)]
    name: String,
    /// Describe this struct for readers of events; may be repeated
    #[arg(long = "export", value_name = "STRUCT")]
    exports: Vec<String>,
    /// Where the files go
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
}

fn main() -> ExitCode {
    libbpf_rs::set_print(None);
    match pack(&Arguments::parse()) {
        Ok(paths) => {
            paths.iter().for_each(|path| println!("{}", path.display()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: failed to {error}");
            ExitCode::FAILURE
        }
    }
}

fn pack(arguments: &Arguments) -> Result<Vec<PathBuf>, Error> {
    let Arguments { object: path, name, exports, output } = arguments;
    let object = read(path)?;
    let exports = (!exports.is_empty()).then_some(&exports[..]);
    let meta = describe(&object, name, exports)?;
    write(output, name, &object, &meta)
}
