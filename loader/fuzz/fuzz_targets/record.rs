//! Records that are decoded by types that nobody vouches for. Two bytes say how long the BTF is; the record follows it. The
//! whole is taken as an object with debugging information, too.

#![no_main]

use hooklab_loader::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [a, b, bytes @ ..] = input else { return };
    let length = usize::from(u16::from_le_bytes([*a, *b])).min(bytes.len());
    let (btf, record) = bytes.split_at(length);
    let half = &record[..record.len() / 2];
    fuzzing::records(btf, &[record, record, half, record]);
    fuzzing::structs(btf, record);
    fuzzing::debugging_information(input, record);
});
