//! `minimal-kprobe.bpf.c` in Rust: a kprobe on the function that the system call enters on x86-64.
#![no_std]
#![no_main]

mod contract;

use aya_ebpf::macros::kprobe;
use aya_ebpf::programs::ProbeContext;

#[kprobe(function = "__x64_sys_write")]
fn handle_kprobe(_context: ProbeContext) -> u32 {
    contract::print_caller();
    0
}
