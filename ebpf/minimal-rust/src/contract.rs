//! What the programs have in common that hook `write()` in other ways than `minimal.rs`, which is explained step by step there.

use core::ptr;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_printk};

/// The PID to print, as the initial PID namespace counts it; 0 means every process.
#[unsafe(no_mangle)]
static pid_filter: i32 = 0;

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual BSD/GPL\0";

/// The number of write(2) on x86-64: `__NR_write`.
#[allow(dead_code, reason = "only what is hit by every system call has to know which it is")]
pub const WRITE: u64 = 1;

/// Prints the caller's PID, unless another one is wanted.
#[inline(always)]
pub fn print_caller() {
    let pid = (bpf_get_current_pid_tgid() >> 32) as i32;
    // SAFETY: it is a static, and nothing writes to it while the program runs.
    let filter = unsafe { ptr::read_volatile(&raw const pid_filter) };

    if filter == 0 || filter == pid {
        // SAFETY: the format has one integer, and one is given.
        unsafe { bpf_printk!(c"BPF triggered sys_enter_write from PID %d.\n", pid) };
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
