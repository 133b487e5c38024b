//! Boots Linux kernels in QEMU and runs static test binaries in them.
//!
//! [`kernel`] finds kernels, [`qemu`] makes the command line of a machine, [`machine`] drives it, [`saved`] keeps its
//! state so that it need not boot again, and [`runner`] runs tests in machines. All of them report through [`event`];
//! none of them prints.

pub mod arch;
pub mod binary;
mod cache;
pub mod debian;
pub mod event;
pub mod host;
pub mod kernel;
pub mod linked;
pub mod machine;
pub mod payload;
pub mod qemu;
pub mod runner;
pub mod saved;

pub use hooklab_types::test::TestId;
