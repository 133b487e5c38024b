//! Why an image, its config or its modules cannot be used.

use std::io;
use std::path::PathBuf;

use crate::host::FileError;

/// Why an image, its config or its modules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is no kernel, or none that QEMU can boot.
    #[error("failed to use {} as a kernel", path.display())]
    NoKernel {
        /// The file or directory.
        path: PathBuf,
        /// What shows it.
        #[source]
        source: FormatError,
    },
    /// The kernel is configured without something that the lab needs.
    #[error("failed to use kernel {kernel}: it is configured without {option}, which the lab needs")]
    NotConfigured {
        /// The release or path.
        kernel: String,
        /// The option, with `CONFIG_`.
        option: &'static str,
    },
    /// A module that the guest needs does not exist.
    #[error("failed to find module {module} for kernel {kernel}: it is not in {place}")]
    NoModule {
        /// The module, with underscores.
        module: String,
        /// The release or path.
        kernel: String,
        /// Where it was looked for.
        place: String,
    },
    /// A module's file cannot be read as one.
    #[error("failed to read the module {name}")]
    Module {
        /// The module or its file.
        name: String,
        /// What is wrong.
        #[source]
        source: ModuleError,
    },
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why a file or directory is no kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It is a program, such as the `vmlinux` that an image is made of.
    #[error("it is an ELF file, not a {image}")]
    Elf {
        /// What the image is called.
        image: &'static str,
    },
    /// It is something else.
    #[error("it has no {header}")]
    NoHeader {
        /// What images have.
        header: &'static str,
    },
    /// The directory is not one in which a kernel was built.
    #[error("the directory has no {image}")]
    NotBuilt {
        /// Where the image should be.
        image: &'static str,
        /// What builds it.
        command: &'static str,
    },
}

/// Why a file cannot be read as a module.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// Its name is not a module's.
    #[error("its name does not end as a module's does")]
    NoModule,
    /// The only compression that cannot be read.
    #[error("it is compressed with gzip, which the lab cannot read")]
    Gzip,
    /// It is not an ELF file.
    #[error("it is not an ELF file")]
    NoElf(#[from] object::Error),
    /// It has no description of itself.
    #[error("it has no section .modinfo")]
    NoInformation,
    /// It cannot be read or decompressed.
    #[error(transparent)]
    Read(#[from] io::Error),
}
