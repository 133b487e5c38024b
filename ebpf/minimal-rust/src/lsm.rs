//! `minimal-lsm.bpf.c` in Rust: asked before every access to an open file.
#![no_std]
#![no_main]

mod contract;

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

/// What the access is for, from the kernel's `include/linux/fs.h`.
const MAY_WRITE: i32 = 2;

/// Its arguments are the file and what the access is for. Whatever it returns but 0 would deny the access.
#[lsm(hook = "file_permission")]
fn handle_lsm(context: LsmContext) -> i32 {
    if context.arg::<i32>(1) & MAY_WRITE != 0 {
        contract::print_caller();
    }
    0
}
