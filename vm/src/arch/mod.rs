//! What differs between architectures: one file for each, and one constant that says which one guests have.

mod x86_64;

/// An architecture of guests.
#[derive(Debug, Clone, Copy)]
pub struct Arch {
    /// As `std::env::consts::ARCH` and `uname -m` have it.
    pub name: &'static str,
    /// As people write it.
    pub title: &'static str,
    /// As Debian calls it, at the end of package names and in indexes.
    pub debian: &'static str,
    /// The target triple of programs for guests.
    pub target: &'static str,
    /// The program that is QEMU.
    pub qemu: &'static str,
    /// The Debian package that has it.
    pub qemu_package: &'static str,
    /// What virtme-ng is asked for besides.
    pub virtme: &'static [&'static str],
    /// The device for the host's files that virtme-ng adds.
    pub virtme_share: &'static str,
    /// The CPU that virtme-ng asks for under TCG.
    pub cpu: &'static str,
    /// The CPU that guests get under TCG instead.
    pub translated_cpu: &'static str,
    /// The first serial port, as the kernel names it.
    pub console: &'static str,
    /// The machine in an ELF header.
    pub elf_machine: u16,
    /// The form of kernel images.
    pub image: ImageFormat,
    /// Where a build of the kernel puts the image.
    pub built_image: &'static str,
    /// What makes it, and the modules.
    pub build_command: &'static str,
}

/// A form of kernel images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// What the x86 boot protocol covers.
    BzImage,
}

/// The architecture of guests.
pub const GUEST: Arch = x86_64::X86_64;

impl Arch {
    /// Whether the host's processor runs it, so that KVM may be of help.
    pub fn is_host(&self) -> bool {
        self.name == std::env::consts::ARCH
    }
}
