//! Where kernels come from.

pub(crate) mod debian;
pub(crate) mod local;
