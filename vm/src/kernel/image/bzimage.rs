//! Tells kernel images from other files, by the header that the x86 boot protocol prescribes
//! (`Documentation/arch/x86/boot.rst` in the kernel's source).

use super::{FormatError, is_release};

/// Enough bytes to hold the boot sector, the setup header and the setup code with the version string.
pub(super) const HEAD: u64 = 64 << 10;

/// `boot_flag`: 0xAA55, little-endian.
const BOOT_FLAG: (usize, &[u8]) = (0x1FE, &[0x55, 0xAA]);

/// `header`.
const MAGIC: (usize, &[u8]) = (0x202, b"HdrS");

/// `kernel_version`: where the version string is, less 0x200; 0 if there is none.
const KERNEL_VERSION: usize = 0x20E;

/// `setup_sects`: sectors of the setup code, after the boot sector; 0 means 4.
const SETUP_SECTORS: usize = 0x1F1;

/// `payload_offset` and `payload_length`: the compressed kernel, relative to the end of the setup code.
const PAYLOAD: [usize; 2] = [0x248, 0x24C];

/// The compressed kernel in an image; none if the header does not say where it is.
pub(super) fn payload(image: &[u8]) -> Option<&[u8]> {
    let number = |at: usize| {
        let bytes = image.get(at..at + 4)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    release(image.get(..usize::try_from(HEAD).ok()?.min(image.len()))?).ok()?;
    let sectors = match *image.get(SETUP_SECTORS)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let begin = number(PAYLOAD[0])?.checked_add((sectors + 1) * 512)?;
    image.get(begin..begin.checked_add(number(PAYLOAD[1])?)?).filter(|payload| !payload.is_empty())
}

/// What `uname -r` will print, from the beginning of an image; none if the image does not say.
///
/// # Errors
/// It is no image that the x86 boot protocol covers.
pub(super) fn release(head: &[u8]) -> Result<Option<String>, FormatError> {
    if head.starts_with(b"\x7fELF") {
        return Err(FormatError::Elf { image: "bzImage" });
    }
    let has =
        |(offset, bytes): (usize, &[u8])| head.get(offset..).is_some_and(|rest| rest.starts_with(bytes));
    if !has(BOOT_FLAG) || !has(MAGIC) {
        return Err(FormatError::NoHeader { header: "x86 boot header" });
    }
    Ok(version_string(head))
}

/// The first word of the version string: `6.12.117+deb13-cloud-amd64 (…) #1 SMP …`.
fn version_string(head: &[u8]) -> Option<String> {
    let pointer = head.get(KERNEL_VERSION..KERNEL_VERSION + 2)?;
    let offset = usize::from(u16::from_le_bytes([pointer[0], pointer[1]]));
    if offset == 0 {
        return None;
    }
    let text = head.get(offset + 0x200..)?;
    let end = text.iter().position(|byte| *byte == 0 || byte.is_ascii_whitespace())?;
    let release = std::str::from_utf8(&text[..end]).ok()?;
    is_release(release).then(|| release.to_owned())
}

#[cfg(test)]
pub(in crate::kernel) mod tests {
    use super::*;

    /// A file with the header of a kernel image.
    pub(in crate::kernel) fn image(version: &str) -> Vec<u8> {
        let mut image = vec![0; 0x1000];
        image[0x1FE..0x200].copy_from_slice(&[0x55, 0xAA]);
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20E..0x210].copy_from_slice(&0x600_u16.to_le_bytes());
        image[0x800..0x800 + version.len()].copy_from_slice(version.as_bytes());
        image
    }

    #[test]
    fn the_release_comes_from_the_header() {
        let image = image("6.12.117+deb13-cloud-amd64 (x@y) #1 SMP\0");
        assert_eq!(release(&image).unwrap().as_deref(), Some("6.12.117+deb13-cloud-amd64"));
    }

    #[test]
    fn an_image_may_keep_its_release_to_itself() {
        let mut silent = image("6.12.117 (x@y)\0");
        silent[0x20E..0x210].fill(0);
        assert_eq!(release(&silent).unwrap(), None);
        silent[0x20E..0x210].fill(0xFF);
        assert_eq!(release(&silent).unwrap(), None);
        assert_eq!(release(&image("6/../../etc\0")).unwrap(), None);
    }

    #[test]
    fn other_files_are_no_kernels() {
        for content in [&b""[..], b"root:x:0:0:root:/root:/bin/bash\n", &[0; 0x1000]] {
            let message = release(content).unwrap_err().to_string();
            assert!(message.contains("it has no x86 boot header"), "{message}");
        }
        let mut half = image("6.12\0");
        half[0x1FE] = 0;
        assert!(release(&half).is_err());
        half[0x1FE..0x206].copy_from_slice(b"\x55\xAA\0\0HdrX");
        assert!(release(&half).is_err());
        let mut elf = image("6.12\0");
        elf[..4].copy_from_slice(b"\x7fELF");
        assert!(release(&elf).unwrap_err().to_string().contains("bzImage"));
    }
}
