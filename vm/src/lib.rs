//! Boots Linux kernels in QEMU and runs static test binaries in them.
//!
//! [`kernel`] finds kernels, [`compose`] and [`machine`] make and drive a machine, [`saved`] keeps what need not boot
//! again, [`run`] judges what happens in a machine, [`accel`] settles on an accelerator. All of them tell what they do
//! through [`event`]; none of them prints.

pub mod accel;
pub mod arch;
pub mod binary;
mod cache;
pub mod compose;
pub mod console;
pub mod debian;
pub mod event;
pub mod host;
pub mod initramfs;
pub mod kernel;
pub mod linked;
pub mod machine;
pub mod payload;
pub mod run;
pub mod saved;

pub use hooklab_types::test::TestId;
