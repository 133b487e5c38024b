//! The commands, one in each file: its flags, and what it does.

mod bench;
mod build;
mod doc;
mod setup;
mod soak;
mod test;
mod vm_test;

pub(crate) use bench::Bench;
pub(crate) use build::Build;
pub(crate) use doc::Doc;
pub(crate) use setup::Setup;
pub(crate) use soak::Soak;
pub(crate) use test::Test;
pub(crate) use vm_test::VmTest;
