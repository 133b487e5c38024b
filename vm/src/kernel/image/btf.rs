//! The types that a kernel describes (BTF), taken from its image.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection};

use super::bzimage;

/// Largest program that an image unpacks to; more is a damaged file.
const LARGEST: u64 = 1 << 30;

/// Why the types of a kernel could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the BTF in {}", path.display())]
pub struct BtfError {
    /// The image.
    path: PathBuf,
    /// What is wrong with it.
    source: Problem,
}

/// What is wrong with an image.
#[derive(Debug, thiserror::Error)]
enum Problem {
    /// It cannot be read or decompressed.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The header does not say where the compressed kernel is.
    #[error("it does not say where its payload is")]
    NoPayload,
    /// Of all compressions this one cannot be undone.
    #[error("it is compressed with neither zstd nor xz")]
    Compression,
    /// What it unpacks to is no ELF file.
    #[error("its payload is no ELF file")]
    NoElf(#[from] object::Error),
    /// The kernel was built without.
    #[error("it has none: the kernel was built without CONFIG_DEBUG_INFO_BTF")]
    NoBtf,
}

/// The BTF of a kernel image, as its `/sys/kernel/btf/vmlinux` would have it.
///
/// # Errors
/// The image cannot be read, is compressed in another way than with zstd or xz, or has no BTF.
pub fn btf(image: &Path) -> Result<Vec<u8>, BtfError> {
    find(image).map_err(|source| BtfError { path: image.to_owned(), source })
}

fn find(image: &Path) -> Result<Vec<u8>, Problem> {
    let image = fs::read(image)?;
    let program = decompress(bzimage::payload(&image).ok_or(Problem::NoPayload)?)?;
    let elf = object::File::parse(program.as_slice())?;
    let section = elf.section_by_name(".BTF").ok_or(Problem::NoBtf)?;
    Ok(section.data()?.to_vec())
}

/// Undoes the compression that the first bytes tell of. The size that follows the compressed bytes is left alone.
fn decompress(payload: &[u8]) -> Result<Vec<u8>, Problem> {
    match payload {
        [0x28, 0xB5, 0x2F, 0xFD, ..] => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(payload).map_err(io::Error::other)?;
            limited(decoder)
        }
        [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => limited(liblzma::read::XzDecoder::new(payload)),
        _ => Err(Problem::Compression),
    }
}

fn limited(source: impl Read) -> Result<Vec<u8>, Problem> {
    let mut content = Vec::new();
    source.take(LARGEST).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn image_with(payload: &[u8]) -> tempfile::NamedTempFile {
        let mut image = bzimage::tests::image("6.12\0");
        image[0x1F1] = 1;
        image[0x248..0x24C].copy_from_slice(&0x10_u32.to_le_bytes());
        let length = u32::try_from(payload.len()).unwrap();
        image[0x24C..0x250].copy_from_slice(&length.to_le_bytes());
        image.resize(0x410, 0);
        image.extend_from_slice(payload);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&image).unwrap();
        file
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut compressed = Vec::new();
        liblzma::read::XzEncoder::new(bytes, 1).read_to_end(&mut compressed).unwrap();
        // The size of the kernel, which the boot code reads.
        compressed.extend_from_slice(&[0; 4]);
        compressed
    }

    fn vmlinux(section: &[u8]) -> Vec<u8> {
        use object::write::Object;
        let mut elf =
            Object::new(object::BinaryFormat::Elf, object::Architecture::X86_64, object::Endianness::Little);
        let id = elf.add_section(Vec::new(), section.to_vec(), object::SectionKind::ReadOnlyData);
        elf.set_section_data(id, b"types".as_slice(), 1);
        elf.write().unwrap()
    }

    #[test]
    fn types_come_out_of_an_image() {
        assert_eq!(btf(image_with(&xz(&vmlinux(b".BTF"))).path()).unwrap(), b"types");
    }

    #[test]
    fn an_image_without_types_says_why() {
        let why = |payload: &[u8]| btf(image_with(payload).path()).unwrap_err().source;
        assert!(matches!(why(&xz(&vmlinux(b".data"))), Problem::NoBtf));
        assert!(matches!(why(&xz(b"no program")), Problem::NoElf(_)));
        assert!(matches!(why(b"\x02\x21\x4c\x18"), Problem::Compression));
        assert!(matches!(why(&xz(&vmlinux(b".BTF"))[..40]), Problem::Read(_)));
        assert!(matches!(btf(Path::new("/no/such/image")).unwrap_err().source, Problem::Read(_)));
        let short = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(btf(short.path()).unwrap_err().source, Problem::NoPayload));
    }
}
