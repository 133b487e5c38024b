//! Why an object cannot be packed.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why an object is not packed.
///
/// A message does not repeat its cause, which is its [`source`](std::error::Error::source).
#[derive(Debug, Error)]
pub enum Error {
    /// It is not an ELF file.
    #[error("failed to read the object")]
    Elf(#[from] object::read::Error),
    /// It was compiled for another machine.
    #[error("failed to use the object: it is not for eBPF; compile it with `clang -target bpf`")]
    NotEbpf,
    /// It has no type information.
    #[error("failed to describe the object: it has no BTF; compile it with `clang -g -target bpf`")]
    NoBtf,
    /// It has no program to attach.
    #[error(
        "failed to describe the object: there is no program in it; put one into a section, as in SEC(\"tp/CATEGORY/NAME\")"
    )]
    NoProgram,
    /// The section names no attach point.
    #[error(
        "failed to describe `{program}`: libbpf knows no section `{section}`, so it could not be attached"
    )]
    UnknownSection {
        /// The function.
        program: String,
        /// Its section.
        section: String,
    },
    /// libbpf rejects it.
    #[error("failed to open the object with libbpf")]
    Open(#[source] libbpf_rs::Error),
    /// libbpf cannot print a type in C.
    #[error("failed to name the type of `{name}` in C")]
    Type {
        /// The variable or member.
        name: String,
        /// libbpf's error.
        source: io::Error,
    },
    /// The header names a struct that the compiled program lacks.
    #[error("failed to export `{0}`: the program does not have this struct; include the header in it")]
    NoStruct(String),
    /// A file is no BTF.
    #[error("failed to read the BTF in {}", path.display())]
    Btf {
        /// Its path.
        path: PathBuf,
        /// libbpf's error.
        source: libbpf_rs::Error,
    },
    /// libbpf cannot print the types of a kernel.
    #[error("failed to print type {id} of a kernel in C")]
    KernelType {
        /// Its number.
        id: u32,
        /// libbpf's error.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("failed to write {}", path.display())]
    Write {
        /// Its path.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
}
