//! The loaders of this binary, one file each. Those that take packages only are in a binary of their own, `loader/eunomia/`.

mod aya;
mod libbpf;
pub mod libbpf_messages;

use crate::Loader;

/// All loaders that this binary has, in the order in which `--help` names them.
pub const ALL: &[&dyn Loader] = &[&aya::Aya, &libbpf::Libbpf];
