//! The loaders of this binary, one file each. Those that take only packages are in another one, `loader/eunomia/`.

mod aya;
mod libbpf;
pub mod libbpf_messages;

use crate::Loader;

/// All loaders of this binary, in the order of `--help`.
pub const ALL: &[&dyn Loader] = &[&aya::Aya, &libbpf::Libbpf];
