//! Boots Linux kernels in QEMU and runs static test binaries in them.

pub mod event;
pub mod kernel;
