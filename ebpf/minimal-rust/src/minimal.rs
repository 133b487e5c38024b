//! `minimal.bpf.c` in Rust: prints the PID of every process that calls write(2), or of one process alone.
//!
//! The lines appear in `/sys/kernel/tracing/trace_pipe`.
#![no_std]
#![no_main]

use core::ptr;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_printk};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;

/// The PID to print, as the initial PID namespace counts it; 0 means every process.
///
/// A loader writes the value before the kernel sees the program.
#[unsafe(no_mangle)]
static pid_filter: i32 = 0;

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual BSD/GPL\0";

#[tracepoint(category = "syscalls", name = "sys_enter_write")]
fn handle_tp(_context: TracePointContext) -> u32 {
    // The upper half is the thread group, which user space calls the PID; the lower half is the thread.
    let pid = (bpf_get_current_pid_tgid() >> 32) as i32;
    // Volatile: the compiler would compute with the 0 that stands above.
    // SAFETY: it is a static, and nothing writes to it while the program runs.
    let filter = unsafe { ptr::read_volatile(&raw const pid_filter) };

    if filter == 0 || filter == pid {
        // SAFETY: the format has one integer, and one is given.
        unsafe { bpf_printk!(c"BPF triggered sys_enter_write from PID %d.\n", pid) };
    }
    0
}

/// Nothing here panics, but a program without the standard library must say what would happen.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
