//! `minimal.rs` with one word taken out, to show a bug: its filter is read as any constant is, not volatile.
//!
//! The compiler takes the initial value for the final one and drops the comparison. The variable itself stays in
//! .rodata, so setting it succeeds, and the program prints every process all the same.
#![no_std]
#![no_main]

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_printk};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;

#[unsafe(no_mangle)]
static pid_filter: i32 = 0;

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual BSD/GPL\0";

#[tracepoint(category = "syscalls", name = "sys_enter_write")]
fn handle_tp(_context: TracePointContext) -> u32 {
    let pid = (bpf_get_current_pid_tgid() >> 32) as i32;

    if pid_filter == 0 || pid_filter == pid {
        // SAFETY: the format has one integer, and one is given.
        unsafe { bpf_printk!(c"BPF triggered sys_enter_write from PID %d.\n", pid) };
    }
    0
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
