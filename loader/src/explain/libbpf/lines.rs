//! Lines of the source, from the line information that clang puts into an object (`.BTF.ext`): older kernels print the text of
//! a line without its place.

use std::ffi::CStr;
use std::path::Path;
use std::slice;

use libbpf_rs::{AsRawLibbpf as _, OpenObject, libbpf_sys};

/// The line that an instruction of a program is from, as newer kernels print it: `x = *p; @ a.bpf.c:12`. libbpf must
/// have put the object's programs together, and not loaded them yet.
pub(super) fn of_instruction(object: &OpenObject, program: usize, instruction: u32) -> Option<String> {
    let program = object.progs().nth(program)?;
    let pointer = program.as_libbpf_object().as_ptr();
    // SAFETY: the program is alive.
    let first = unsafe { libbpf_sys::bpf_program__line_info(pointer) };
    // SAFETY: the same.
    let count = unsafe { libbpf_sys::bpf_program__line_info_cnt(pointer) };
    if first.is_null() {
        return None;
    }
    // SAFETY: libbpf has an array of so many records there as long as the object is open and is not loaded once more.
    let lines = unsafe { slice::from_raw_parts(first, count as usize) };
    // In the order of the instructions; each holds up to the next.
    let line = lines.iter().rev().find(|line| line.insn_off <= instruction)?;
    let (text, file) = (name(object, line.line_off)?, name(object, line.file_name_off)?);
    let file = Path::new(&file).file_name()?.to_string_lossy();
    // The number of the column is in the lowest ten bits.
    Some(format!("{} @ {file}:{}", text.trim(), line.line_col >> 10))
}

/// A string of the object's BTF.
fn name(object: &OpenObject, offset: u32) -> Option<String> {
    // SAFETY: the object is alive; its BTF may be NULL.
    let btf = unsafe { libbpf_sys::bpf_object__btf(object.as_libbpf_object().as_ptr()) };
    if btf.is_null() {
        return None;
    }
    // SAFETY: the BTF is alive as long as the object; libbpf checks the offset.
    let name = unsafe { libbpf_sys::btf__name_by_offset(btf, offset) };
    // SAFETY: the name ends in NUL, and lies in the BTF.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}
