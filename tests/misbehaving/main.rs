//! Misbehaving tests, each in one way: the tests in `tests/cli/` check what the lab makes of them. They run in guests
//! only: some of them crash the machine. None of them relies on another to have run before it.
#![cfg(feature = "misbehaving")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bpf;
mod confined;
mod endings;
mod exhaustion;
mod failures;
mod flaky;
mod hostile;
mod leaks;
