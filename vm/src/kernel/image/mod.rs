//! What is in a kernel: the image, its config, its modules.

pub(crate) mod bzimage;
pub(crate) mod config;
pub(crate) mod module;
