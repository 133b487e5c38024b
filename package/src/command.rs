//! The command line: describes a compiled object, and writes the files of a package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use libbpf_sys::API_HEADERS;

use crate::{Error, describe, read, write, write_vmlinux};

/// Packs a compiled eBPF object: writes NAME.bpf.o, NAME.skel.json and package.json
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// An object, as clang writes it with -g
    #[arg(required_unless_present_any = ["headers", "vmlinux"])]
    object: Option<PathBuf>,
    /// What the files are named after, as NAME in NAME.bpf.c
    #[arg(long, required_unless_present_any = ["headers", "vmlinux"])]
    name: Option<String>,
    /// Describe this struct for readers of events; may be repeated
    #[arg(long = "export", value_name = "STRUCT")]
    exports: Vec<String>,
    /// Where the files go
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Write the headers that programs include as <bpf/NAME.h> into DIR/bpf, and stop
    #[arg(long, value_name = "DIR", conflicts_with_all = ["object", "name"])]
    headers: Option<PathBuf>,
    /// Write vmlinux.h, with all types of the kernel whose BTF is in this file, and stop
    #[arg(long, value_name = "BTF", conflicts_with_all = ["object", "name", "headers"])]
    vmlinux: Option<PathBuf>,
}

/// Executes the command line and returns the exit code.
pub fn main() -> ExitCode {
    libbpf_rs::set_print(None);
    match pack(&Arguments::parse()) {
        Ok(paths) => {
            paths.iter().for_each(|path| println!("{}", path.display()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {:#}", anyhow::Error::from(error));
            ExitCode::FAILURE
        }
    }
}

fn pack(arguments: &Arguments) -> Result<Vec<PathBuf>, Error> {
    if let Some(btf) = &arguments.vmlinux {
        return Ok(vec![write_vmlinux(btf, &arguments.output)?]);
    }
    let Arguments { object: Some(path), name: Some(name), exports, output, headers: None, .. } = arguments
    else {
        return arguments.headers.as_deref().map_or(Ok(Vec::new()), write_headers);
    };
    let object = read(path)?;
    let exports = (!exports.is_empty()).then_some(&exports[..]);
    let meta = describe(&object, name, exports)?;
    write(output, name, &object, &meta)
}

/// Writes libbpf's headers for programs, as of this build.
fn write_headers(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let directory = directory.join("bpf");
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    fs::create_dir_all(&directory).map_err(failed(&directory))?;
    for (name, content) in API_HEADERS {
        let path = directory.join(name);
        fs::write(&path, content).map_err(failed(&path))?;
    }
    Ok(vec![directory])
}
