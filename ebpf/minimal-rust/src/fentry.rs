//! `minimal-fentry.bpf.c` in Rust: called by the entry of the system call's function.
#![no_std]
#![no_main]

mod contract;

use aya_ebpf::macros::fentry;
use aya_ebpf::programs::FEntryContext;

#[fentry(function = "__x64_sys_write")]
fn handle_fentry(_context: FEntryContext) -> i32 {
    contract::print_caller();
    0
}
