//! `hooklab package`: what the tutorial does with `ecc`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::exit::{Exit, UsageError};
use crate::lab::Lab;
use crate::options::{KernelOptions, SetupOptions};
use crate::setup::{self, Purpose};
use crate::{compile, report};

/// Compile a program and pack it, as `ecc` does
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hooklab package minimal.bpf.c                writes minimal.bpf.o, minimal.skel.json and package.json beside it
  hooklab package exec.bpf.c exec.h -o out     describes the structs of exec.h, too, for readers of events

A program may include \"vmlinux.h\": where no -I directory has it, it is made of the newest kernel's types.")]
pub struct Package {
    /// A program in C; what its name has before the first dot names the files
    #[arg(value_name = "SOURCE.bpf.c")]
    source: PathBuf,
    /// The header with the structs that the program sends; SOURCE.h beside the source, if it is there
    #[arg(value_name = "EVENT_HEADER")]
    header: Option<PathBuf>,
    /// Where the files go; the source's directory without it
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Look for headers here, too; may be repeated
    #[arg(short = 'I', long, value_name = "DIR")]
    include: Vec<PathBuf>,
    #[command(flatten)]
    kernels: KernelOptions,
    #[command(flatten)]
    setup: SetupOptions,
}

impl Package {
    /// Compiles and packs.
    pub fn run(&self, lab: &Lab) -> Result<Exit> {
        for path in [Some(&self.source), self.header.as_ref()].into_iter().flatten() {
            if !path.is_file() {
                return Err(UsageError(format!("there is no file {}", path.display())).into());
            }
        }
        // What is run in another directory must be found from there.
        let source = std::path::absolute(&self.source).context("failed to find the source")?;
        let include = self
            .include
            .iter()
            .map(std::path::absolute)
            .collect::<Result<Vec<PathBuf>, _>>()
            .context("failed to find a directory")?;
        let directory = self.source.parent().unwrap_or(Path::new(""));
        let header = self.header.clone().or_else(|| compile::header_beside(&source));
        let output = self.output.as_deref().unwrap_or(directory);

        let reporter = report::steps();
        setup::ensure(lab, &[Purpose::Compile], &self.setup, reporter.as_ref())?;
        let source = compile::Source {
            path: &source,
            header: header.as_deref(),
            include: &include,
            kernels: &self.kernels,
        };
        let written = compile::package(lab, &source, output, reporter.as_ref())?;
        drop(reporter);
        out!("{}", String::from_utf8_lossy(&written).trim_end());
        Ok(Exit::Success)
    }
}
