//! `minimal-tp-btf.bpf.c` in Rust: a raw tracepoint whose arguments have types.
#![no_std]
#![no_main]

mod contract;

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

/// Its arguments are the registers and the number of the system call.
#[btf_tracepoint(function = "sys_enter")]
fn handle_tp_btf(context: BtfTracePointContext) -> i32 {
    if context.arg::<u64>(1) == contract::WRITE {
        contract::print_caller();
    }
    0
}
