//! QEMU: its command line, its accelerator, the initramfs that it gives the guest, and the guest's console.

pub mod accelerator;
pub mod command_line;
pub mod console;
pub mod initramfs;
