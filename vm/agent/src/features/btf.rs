//! Finds a function in the kernel's BTF, its type information (kernel documentation, `bpf/btf`).
//!
//! Reads it in chunks, and keeps none of them: the state of a machine that is saved afterwards contains every page that was
//! ever written to.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
/// `BTF_KIND_FUNC`.
const FUNCTION: u32 = 12;
/// Bytes to read at a time.
const CHUNK: usize = 64 << 10;

/// Offsets of the sections of types and strings, from `struct btf_header`.
struct Header {
    types: u64,
    types_end: u64,
    strings: u64,
    strings_end: u64,
}

/// The BTF id of a function, for `attach_btf_id`; `None` if the BTF does not contain it.
pub(super) fn function_id(name: &str) -> io::Result<Option<u32>> {
    find(File::open(VMLINUX)?, name)
}

fn find(file: impl Read + Seek, name: &str) -> io::Result<Option<u32>> {
    let mut file = BufReader::with_capacity(CHUNK, file);
    let header = header(&mut file)?;
    file.seek(SeekFrom::Start(header.strings))?;
    let strings = (&mut file).take(header.strings_end - header.strings);
    let Some(name) = offset_of(strings, name)? else { return Ok(None) };
    file.seek(SeekFrom::Start(header.types))?;
    function_named(&mut (&mut file).take(header.types_end - header.types), name)
}

fn header(file: &mut impl Read) -> io::Result<Header> {
    let mut start = [0; 8];
    file.read_exact(&mut start)?;
    if start[..2] != MAGIC.to_le_bytes() {
        return Err(ErrorKind::InvalidData.into());
    }
    let length = u64::from(u32::from_le_bytes([start[4], start[5], start[6], start[7]]));
    let [types, types_length, strings, strings_length] = words(file)?.map(u64::from);
    let [types, strings] = [length + types, length + strings];
    Ok(Header { types, types_end: types + types_length, strings, strings_end: strings + strings_length })
}

/// The offset of a string in a sequence of zero-terminated strings.
fn offset_of(strings: impl Read, wanted: &str) -> io::Result<Option<u32>> {
    let mut strings = BufReader::new(strings);
    let (mut offset, mut string) = (0_u32, Vec::new());
    loop {
        string.clear();
        let length = io::BufRead::read_until(&mut strings, 0, &mut string)?;
        if length == 0 {
            return Ok(None);
        }
        if string.strip_suffix(&[0]) == Some(wanted.as_bytes()) {
            return Ok(Some(offset));
        }
        offset += u32::try_from(length).map_err(|_| ErrorKind::InvalidData)?;
    }
}

/// The id of the function with this name; the first type has id 1.
fn function_named(types: &mut impl Read, wanted: u32) -> io::Result<Option<u32>> {
    for id in 1.. {
        let [name, info, _] = match words(types) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            words => words?,
        };
        let (kind, count) = (info >> 24 & 0x1f, u64::from(info & 0xffff));
        if kind == FUNCTION && name == wanted {
            return Ok(Some(id));
        }
        // Number of bytes after a type of each kind: `include/uapi/linux/btf.h`.
        let rest = match kind {
            1 | 14 | 17 => 4,
            3 => 12,
            4 | 5 | 15 | 19 => count * 12,
            6 | 13 => count * 8,
            2 | 7..=12 | 16 | 18 => 0,
            _ => return Err(ErrorKind::InvalidData.into()),
        };
        io::copy(&mut types.take(rest), &mut io::sink())?;
    }
    Ok(None)
}

/// The next words of the file, which are in native byte order.
fn words<const COUNT: usize>(file: &mut impl Read) -> io::Result<[u32; COUNT]> {
    let mut words = [0; COUNT];
    for word in &mut words {
        let mut bytes = [0; 4];
        file.read_exact(&mut bytes)?;
        *word = u32::from_le_bytes(bytes);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BTF with an integer, a structure of two members, and two functions.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0pair\0first\0second\0";
        let types: [&[u32]; 4] = [
            &[1, 1 << 24, 4, 32],
            &[5, 4 << 24 | 2, 8, 0, 1, 0, 0, 1, 32],
            &[10, 12 << 24, 1],
            &[16, 12 << 24 | 1, 1],
        ];
        let types: Vec<u8> = types.concat().iter().flat_map(|word| word.to_le_bytes()).collect();
        let lengths =
            [0, types.len(), types.len(), strings.len()].map(|length| u32::try_from(length).unwrap());
        let head = [0xeb9f_u32 | 1 << 16, 24].into_iter().chain(lengths);
        let head: Vec<u8> = head.flat_map(u32::to_le_bytes).collect();
        [&head[..], &types, strings].concat()
    }

    #[test]
    fn a_function_is_found_after_types_of_different_sizes() {
        let find = |name| find(io::Cursor::new(sample()), name).unwrap();
        assert_eq!((find("first"), find("second")), (Some(3), Some(4)));
        assert_eq!((find("pair"), find("firs"), find("third")), (None, None, None));
    }

    #[test]
    fn data_that_is_not_btf_is_an_error() {
        assert!(find(io::Cursor::new(b"\x7fELF and more"), "x").is_err());
        assert!(find(io::Cursor::new(&sample()[..20]), "x").is_err());
    }
}
