//! Tests of the command line, run on the host as a user would run it: `cargo xtask ...`.
//!
//! Those behind the feature `lab` boot guests: they are left out of a plain `cargo test` and belong to `cargo xtask test`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "lab")]
mod confinement;
#[cfg(feature = "lab")]
mod faults;
mod kernels;
#[cfg(feature = "lab")]
mod knowledge;
#[cfg(feature = "lab")]
mod leaks;
#[cfg(feature = "lab")]
mod package;
#[cfg(feature = "lab")]
mod real;
mod report;
#[cfg(feature = "lab")]
mod retries;
#[cfg(feature = "lab")]
mod saved;
mod support;
mod tutorial;
mod usage;
