//! x86-64.

use object::elf::EM_X86_64;

use super::{Arch, ImageFormat};

pub(super) const X86_64: Arch = Arch {
    name: "x86_64",
    title: "x86-64",
    debian: "amd64",
    target: "x86_64-unknown-linux-gnu",
    qemu: "qemu-system-x86_64",
    qemu_package: "qemu-system-x86",
    virtme: &[],
    virtme_share: "virtio-9p-pci",
    cpu: "max",
    // One with fast string instructions, as it says of itself, gets kernels to copy and clear pages with `rep movsb` and
    // `rep stosb`, which TCG runs byte by byte: without them a payload is in, and a first test done, a quarter sooner.
    translated_cpu: "max,-erms,-fsrm",
    console: "ttyS0",
    elf_machine: EM_X86_64,
    image: ImageFormat::BzImage,
    // `Documentation/kbuild/`, `make help`.
    built_image: "arch/x86/boot/bzImage",
    build_command: "make bzImage modules",
};
