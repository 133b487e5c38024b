//! Tests that misbehave, each in one way: what the lab makes of them is tested in `tests/cli/`. They run in guests
//! only: some of them take the machine down.
#![cfg(feature = "specimens")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod abuses;
mod bpf;
mod confined;
mod flaky;
mod hostile;
mod leaks;
mod misbehaves;
