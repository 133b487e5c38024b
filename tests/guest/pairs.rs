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
#[case::aya_on_minimal_raw_tp_c("aya", "minimal-raw-tp")]
#[case::libbpf_on_minimal_raw_tp_c("libbpf", "minimal-raw-tp")]
#[case::eunomia_on_minimal_raw_tp_package("eunomia", "minimal-raw-tp.package.json")]
#[case::aya_on_minimal_kprobe_c("aya", "minimal-kprobe")]
#[case::libbpf_on_minimal_kprobe_c("libbpf", "minimal-kprobe")]
#[case::eunomia_on_minimal_kprobe_package("eunomia", "minimal-kprobe.package.json")]
#[case::aya_on_minimal_fentry_c("aya", "minimal-fentry")]
#[case::libbpf_on_minimal_fentry_c("libbpf", "minimal-fentry")]
#[case::eunomia_on_minimal_fentry_package("eunomia", "minimal-fentry.package.json")]
#[case::aya_on_minimal_tp_btf_c("aya", "minimal-tp-btf")]
#[case::libbpf_on_minimal_tp_btf_c("libbpf", "minimal-tp-btf")]
#[case::eunomia_on_minimal_tp_btf_package("eunomia", "minimal-tp-btf.package.json")]
#[case::aya_on_minimal_lsm_c("aya", "minimal-lsm")]
#[case::libbpf_on_minimal_lsm_c("libbpf", "minimal-lsm")]
#[case::eunomia_on_minimal_lsm_package("eunomia", "minimal-lsm.package.json")]
#[case::aya_on_minimal_raw_tp_rust("aya", "minimal-raw-tp-rust")]
#[case::libbpf_on_minimal_raw_tp_rust("libbpf", "minimal-raw-tp-rust")]
#[case::aya_on_minimal_kprobe_rust("aya", "minimal-kprobe-rust")]
#[case::libbpf_on_minimal_kprobe_rust("libbpf", "minimal-kprobe-rust")]
#[case::aya_on_minimal_fentry_rust("aya", "minimal-fentry-rust")]
#[case::libbpf_on_minimal_fentry_rust("libbpf", "minimal-fentry-rust")]
#[case::aya_on_minimal_tp_btf_rust("aya", "minimal-tp-btf-rust")]
#[case::libbpf_on_minimal_tp_btf_rust("libbpf", "minimal-tp-btf-rust")]
#[case::aya_on_minimal_lsm_rust("aya", "minimal-lsm-rust")]
#[case::libbpf_on_minimal_lsm_rust("libbpf", "minimal-lsm-rust")]
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
