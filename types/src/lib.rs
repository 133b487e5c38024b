//! What the parts of hooklab say to each other, as types that both ends share.

pub mod actor;
pub mod demo;
pub mod explain;
pub mod kernel;
pub mod loader;
pub mod report;
pub mod test;
