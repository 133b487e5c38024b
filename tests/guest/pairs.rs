//! The matrix: which loaders meet which programs. New ones are added here and nowhere else.
//!
//! A case's description is part of the test's name, as in `filter::one_pid::case_1_aya_on_minimal_c`, and
//! xtask reads the loader and the program from it.

use rstest_reuse::template;

/// Each loader with each program that keeps the contract of `ebpf/README.md`.
#[template]
#[rstest]
#[case::aya_on_minimal_c("aya", "minimal")]
#[case::libbpf_on_minimal_c("libbpf", "minimal")]
pub fn every_pair(#[case] loader: &str, #[case] object: &str) {}

/// Each loader, for tests that bring a program of their own from `tests/programs/`.
#[template]
#[rstest]
#[case::aya("aya")]
#[case::libbpf("libbpf")]
pub fn every_loader(#[case] loader: &str) {}
