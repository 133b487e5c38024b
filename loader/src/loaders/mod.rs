//! The loaders, one file each.

mod aya;
mod libbpf;

use crate::Loader;

/// All loaders that this binary has, in the order in which `--help` names them.
pub const ALL: &[&dyn Loader] = &[&aya::Aya, &libbpf::Libbpf];
