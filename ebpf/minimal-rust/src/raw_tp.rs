//! `minimal-raw-tp.bpf.c` in Rust: a raw tracepoint, which is hit by every system call.
#![no_std]
#![no_main]

mod contract;

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;

/// Its arguments are the registers and the number of the system call.
#[raw_tracepoint(tracepoint = "sys_enter")]
fn handle_raw_tp(context: RawTracePointContext) -> i32 {
    if context.arg::<u64>(1) == contract::WRITE {
        contract::print_caller();
    }
    0
}
