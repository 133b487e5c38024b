//! Describes a compiled eBPF object, and packs object and description into one file.
//!
//! The format is that of `ecc` 0.3.3, the compiler of eunomia-bpf, which gets its description from a modified bpftool.
//! As there, names and types come from libbpf, so the description matches what libbpf loads.

mod c_type;
mod command;
mod error;
mod export;
mod object_file;
mod output;
mod skeleton;
mod vmlinux;

pub use command::main;
pub use error::Error;
pub use export::{ExportType, Member};
pub use object_file::read;
pub use output::{Meta, write};
pub use skeleton::{DataSection, Map, Program, Skeleton, Variable};
pub use vmlinux::write_vmlinux;

#[cfg(feature = "static")]
use hooklab_libelf as _;
use libbpf_rs::ObjectBuilder;

/// The version of `ecc` whose format this is.
pub const ECC_VERSION: &str = "0.3.3";

/// Describes an object.
///
/// `name` is that of the program, as in `NAME.bpf.c`; `exports` names the structs that a reader of events needs, or is
/// `None` without such a reader.
///
/// # Errors
///
/// Any [`Error`] except [`Error::Read`] and [`Error::Write`].
pub fn describe(object: &[u8], name: &str, exports: Option<&[String]>) -> Result<Meta, Error> {
    let object_name = skeleton::object_name(name);
    let opened = ObjectBuilder::default()
        .name(&object_name)
        .and_then(|builder| builder.open_memory(object))
        .map_err(Error::Open)?;
    let bpf_skel = skeleton::read(&opened, object_name)?;
    let export_types = exports.map(|names| export::read(&opened, names)).transpose()?;
    Ok(Meta { bpf_skel, eunomia_version: ECC_VERSION, export_types })
}
