//! Tests of the programs and the loaders on a real kernel, run inside a guest as root.
//!
//! They are ordinary tests; `cargo xtask vm-test` builds them with the feature `guest`, takes them into a guest
//! and runs each in a process of its own. The environment says where things are: `HOOKLAB_PAYLOAD` names the
//! directory with `bin/` and `objects/`, `INSTA_WORKSPACE_ROOT` the one under which the snapshots lie.
//!
//! To add a loader or a program, add a case in `pairs.rs`.

#[cfg(feature = "guest")]
mod constant_folded;
#[cfg(feature = "guest")]
mod ecli;
#[cfg(feature = "guest")]
mod errors;
#[cfg(feature = "guest")]
mod filter;
#[path = "../hooks.rs"]
#[expect(dead_code, reason = "a part of it is for xtask")]
mod hooks;
#[cfg(feature = "guest")]
mod kinds;
#[cfg(feature = "guest")]
mod lifecycle;
#[cfg(feature = "guest")]
mod pairs;
#[cfg(feature = "guest")]
mod programs;
#[cfg(feature = "guest")]
mod support;
#[cfg(feature = "guest")]
mod together;
#[cfg(feature = "guest")]
mod trace_guard;

#[cfg(not(feature = "guest"))]
#[path = "support/line.rs"]
mod line;

// Stands for them in the list of a plain `cargo test`, and says how they are run.
#[cfg(not(feature = "guest"))]
#[test]
#[ignore = "guest tests need a guest: run `cargo xtask vm-test`"]
fn guest_tests() {}
