//! The matrix: which loaders meet which programs. New ones are added here and nowhere else.
//!
//! A case's description is part of the test's name, as in `filter::one_pid::case_01_aya_on_minimal_c`, and
//! xtask reads the loader and the program from it. A program that ends in `.package.json` is a package; the loaders
//! eunomia and ecli, which take nothing else, have that of every program (`Run::new`). Where there is no `ecli`, xtask
//! leaves its cases out.

use rstest_reuse::template;

/// Each loader with each program that keeps the contract of `ebpf/README.md`.
#[template]
#[rstest]
#[case::aya_on_minimal_c("aya", "minimal")]
#[case::libbpf_on_minimal_c("libbpf", "minimal")]
#[case::aya_on_minimal_rust("aya", "minimal-rust")]
#[case::libbpf_on_minimal_rust("libbpf", "minimal-rust")]
#[case::aya_on_minimal_package("aya", "minimal.package.json")]
#[case::libbpf_on_minimal_package("libbpf", "minimal.package.json")]
#[case::eunomia_on_minimal_package("eunomia", "minimal.package.json")]
#[case::eunomia_on_ecc_package("eunomia", "ecc-const-volatile.package.json")]
#[case::ecli_on_minimal_package("ecli", "minimal.package.json")]
#[case::ecli_on_ecc_package("ecli", "ecc-const-volatile.package.json")]
pub fn every_pair(#[case] loader: &str, #[case] object: &str) {}

/// Each loader with each program whose filter the compiler constant-folded.
#[template]
#[rstest]
#[case::aya_on_folded_c("aya", "minimal-folded")]
#[case::libbpf_on_folded_c("libbpf", "minimal-folded")]
#[case::aya_on_folded_rust("aya", "minimal-folded-rust")]
#[case::libbpf_on_folded_rust("libbpf", "minimal-folded-rust")]
#[case::aya_on_ecc_folded_package("aya", "ecc-const.package.json")]
#[case::libbpf_on_ecc_folded_package("libbpf", "ecc-const.package.json")]
#[case::eunomia_on_folded_package("eunomia", "minimal-folded.package.json")]
#[case::eunomia_on_ecc_folded_package("eunomia", "ecc-const.package.json")]
#[case::ecli_on_folded_package("ecli", "minimal-folded.package.json")]
#[case::ecli_on_ecc_folded_package("ecli", "ecc-const.package.json")]
pub fn every_folded_pair(#[case] loader: &str, #[case] object: &str) {}

/// Each loader, for tests that bring a program of their own from `tests/programs/`.
#[template]
#[rstest]
#[case::aya("aya")]
#[case::libbpf("libbpf")]
#[case::eunomia("eunomia")]
#[case::ecli("ecli")]
pub fn every_loader(#[case] loader: &str) {}

/// Those of them that take a program with a section `.data`.
#[template]
#[rstest]
#[case::aya("aya")]
#[case::libbpf("libbpf")]
#[case::eunomia("eunomia")]
pub fn every_loader_of_data(#[case] loader: &str) {}
