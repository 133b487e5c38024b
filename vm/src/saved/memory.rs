//! A guest's memory in a file: most of it is zeros, which take neither space nor time.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Whence, lseek};

use crate::host::digest::xxh3;

/// Unit in which zeros are left out, in bytes: a page of the host and of the guest.
const PAGE: usize = 4096;

/// Bytes read and hashed at once: one call of the hash for each, since ours is built without optimisation.
const CHUNK: usize = 64 << 10;

static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// Creates an unnamed file in memory, which exists as long as it is open.
pub(crate) fn unnamed() -> io::Result<File> {
    Ok(memfd_create(c"hooklab", MFdFlags::MFD_CLOEXEC)?.into())
}

/// Copies `from` to the empty file `to`, without the zeros; returns the digest of both.
pub(super) fn copy(from: &File, to: &File) -> io::Result<String> {
    to.set_len(from.metadata()?.len())?;
    each_chunk(from, |offset, chunk| {
        for (position, page) in chunk.chunks(PAGE).enumerate() {
            if page != &ZEROS[..page.len()] {
                to.write_all_at(page, offset + (position * PAGE) as u64)?;
            }
        }
        Ok(())
    })
}

/// Detects damage, not manipulation: whoever can change the file can change our programs as well.
pub(super) fn digest(file: &File) -> io::Result<String> {
    each_chunk(file, |_, _| Ok(()))
}

/// Calls `visit` with the offset and the bytes of each chunk that is not all zeros; returns the digest of the file:
/// that of the chunks' places and digests, and its length.
fn each_chunk(file: &File, mut visit: impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<String> {
    let (mut chunk, mut digests) = (vec![0; CHUNK], Vec::new());
    let mut offset = 0;
    while let Some(data) = next_data(file, offset)? {
        // Down to a chunk, so that the same bytes make the same chunks whatever the file system keeps as holes.
        offset = data - data % CHUNK as u64;
        let length = read_at(file, &mut chunk, offset)?;
        let bytes = &chunk[..length];
        if bytes != &ZEROS[..length] {
            digests.extend(offset.to_le_bytes());
            digests.extend(xxh3(bytes).to_le_bytes());
            visit(offset, bytes)?;
        }
        offset += length as u64;
        if length < CHUNK {
            break;
        }
    }
    Ok(format!("{:032x}-{}", xxh3(&digests), file.metadata()?.len()))
}

/// Where the next bytes are that are not in a hole, from `offset` on; none if only a hole follows.
fn next_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    let from = i64::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    match lseek(file.as_fd(), from, Whence::SeekData) {
        Ok(found) => Ok(u64::try_from(found).ok()),
        Err(Errno::ENXIO) => Ok(None),
        // A file system that knows no holes.
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok((offset < file.metadata()?.len()).then_some(offset)),
        Err(errno) => Err(errno.into()),
    }
}

/// Fills `buffer`, but for the end of the file.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[(u64, &[u8])], length: u64) -> File {
        let file = unnamed().unwrap();
        file.set_len(length).unwrap();
        content.iter().for_each(|(offset, bytes)| file.write_all_at(bytes, *offset).unwrap());
        file
    }

    #[test]
    fn a_copy_is_the_same_and_its_zeros_take_no_room() {
        let zeros = vec![0; 3 << 20];
        let from =
            file(&[(0, &zeros), (5000, b"a"), ((4 << 20) - 1, b"bc"), ((7 << 20) + 11, b"d")], 8 << 20);
        let to = tempfile::tempfile().unwrap();
        assert_eq!(copy(&from, &to).unwrap(), digest(&to).unwrap());
        assert_eq!(digest(&from).unwrap(), digest(&to).unwrap());
        let [mut one, mut other] = [vec![0; 8 << 20], vec![0; 8 << 20]];
        from.read_exact_at(&mut one, 0).unwrap();
        to.read_exact_at(&mut other, 0).unwrap();
        assert!(one == other);
        use std::os::unix::fs::MetadataExt;
        assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn the_digest_sees_a_flipped_bit_a_page_that_moved_and_a_missing_end() {
        let sound = digest(&file(&[(4096, b"ab")], 1 << 20)).unwrap();
        assert_eq!(digest(&file(&[(4096, b"ab")], 1 << 20)).unwrap(), sound);
        assert_ne!(digest(&file(&[(4096, b"aB")], 1 << 20)).unwrap(), sound);
        assert_ne!(digest(&file(&[(8192, b"ab")], 1 << 20)).unwrap(), sound);
        assert_ne!(digest(&file(&[(4096, b"ab")], (1 << 20) - 4096)).unwrap(), sound);
        assert_ne!(digest(&file(&[(4096, b"ab"), (99, b"c")], 1 << 20)).unwrap(), sound);
    }
}
