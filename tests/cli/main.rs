//! Tests of the command line, run on the host as a user would run it: `cargo xtask ...`.
//!
//! Those behind the feature `lab` boot guests: they are left out of a plain `cargo test` and belong to `cargo xtask test`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "lab")]
mod confinement;
#[cfg(feature = "lab")]
mod copied;
#[cfg(feature = "lab")]
mod exec;
#[cfg(feature = "lab")]
mod explain;
#[cfg(feature = "lab")]
mod faults;
#[cfg(feature = "lab")]
mod feature_page;
#[cfg_attr(
    not(feature = "lab"),
    expect(dead_code, unused_imports, unused_macros, reason = "the tests that need something boot guests")
)]
mod gate;
#[cfg(feature = "lab")]
mod harness;
mod kernels;
#[cfg(feature = "lab")]
mod leaks;
#[path = "../needs.rs"]
mod needs;
#[cfg(feature = "lab")]
mod package;
#[cfg(feature = "lab")]
mod real;
mod report;
#[cfg(feature = "lab")]
mod retries;
#[cfg(feature = "lab")]
mod run;
#[cfg(feature = "lab")]
mod saved;
mod support;
mod tutorial;
#[cfg(feature = "lab")]
mod unsupported;
mod usage;
