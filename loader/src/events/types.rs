//! The types of an object, as its BTF describes them, and values of them as text.
//!
//! libbpf makes the text (`btf_dump__dump_type_data`): it knows bit fields, enumerations, and the rest of C.

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::io::{IoSlice, Write as _};
use std::mem;
use std::os::fd::AsRawFd as _;
use std::ptr::{self, NonNull};

use libbpf_rs::btf::types::{Array, Func, FuncProto, Linkage, Struct, Var};
use libbpf_rs::btf::{Btf, BtfKind, BtfType, HasSize as _, TypeId};
use libbpf_rs::{AsRawLibbpf as _, libbpf_sys};
use nix::sys::memfd::{MFdFlags, memfd_create};
use object::{Object as _, ObjectSection as _};

use super::sound::is_sound;
use super::strings::quote;

/// The longest text of a value, in bytes; what is longer is cut off.
const LONGEST: usize = 16 << 10;
/// The longest piece of a text that libbpf prints at once, in bytes: an identifier or a number with what is around it.
const PIECE: usize = 1 << 10;
/// What stands for the rest of a text that is cut off.
const CUT: &str = "...";

unsafe extern "C" {
    /// C's function (`stdio.h`), which takes the arguments of a variadic function.
    fn vsnprintf(
        text: *mut c_char,
        size: usize,
        format: *const c_char,
        arguments: *mut libbpf_sys::__va_list_tag,
    ) -> c_int;
}

/// The types of an object.
pub(crate) struct Types {
    dump: NonNull<libbpf_sys::btf_dump>,
    /// What libbpf has printed, from a `Box`: libbpf knows its address.
    text: NonNull<Vec<u8>>,
    /// Which types libbpf may print, as far as that was looked at.
    sound: HashMap<u32, bool>,
    btf: Btf<'static>,
}

impl Types {
    /// Reads the types of an object; `None` if it has none, or none that libbpf takes.
    pub(crate) fn read(object: &[u8]) -> Option<Self> {
        let elf = object::File::parse(object).ok()?;
        Self::of(parse(elf.section_by_name(".BTF")?.data().ok()?)?)
    }

    /// Reads the types of a program's variables; `None` if the object has no debugging information.
    pub(crate) fn of_variables(object: &[u8]) -> Option<Self> {
        Self::of(parse(&super::dwarf::to_btf(object)?)?)
    }

    /// Uses these types.
    pub(crate) fn of(btf: Btf<'static>) -> Option<Self> {
        let text = NonNull::from(Box::leak(Box::new(Vec::new())));
        let types = btf.as_libbpf_object().as_ptr();
        // SAFETY: the types and the text outlive the dump, which `drop` frees before either.
        let dump =
            unsafe { libbpf_sys::btf_dump__new(types, Some(print), text.as_ptr().cast(), ptr::null()) };
        // libbpf returns NULL on failure since its version 1.
        let Some(dump) = NonNull::new(dump) else {
            // SAFETY: it was leaked from a box above, and libbpf does not keep it.
            drop(unsafe { Box::from_raw(text.as_ptr()) });
            return None;
        };
        Some(Self { dump, text, sound: HashMap::new(), btf })
    }

    /// The types as libbpf-rs has them.
    pub(crate) fn btf(&self) -> &Btf<'static> {
        &self.btf
    }

    /// The structs that have a name, each with its size in bytes.
    pub(crate) fn structs(&self) -> impl Iterator<Item = (TypeId, String, usize)> {
        let named = |kind: Struct<'_>| {
            let name = kind.name()?.to_str()?.to_owned();
            Some((kind.type_id(), name, kind.size()))
        };
        self.btf.type_by_kind::<Struct<'_>>().filter_map(named)
    }

    /// The structs that the program's own variables, maps and functions name. The others are the kernel's, and what these
    /// consist of.
    pub(crate) fn own_structs(&self) -> Vec<(TypeId, String, usize)> {
        let mut found: Vec<TypeId> = Vec::new();
        for variable in self.btf.type_by_kind::<Var<'_>>() {
            let Some(of) = variable.next_type().and_then(pointee) else { continue };
            match Struct::try_from(of) {
                // The definition of a map: pointers to its key and its value.
                Ok(of) if of.name().is_none() => {
                    let members = of.iter().filter_map(|member| pointee(self.btf.type_by_id(member.ty)?));
                    found.extend(members.map(|of| of.type_id()));
                }
                _ => found.push(of.type_id()),
            }
        }
        for function in self.btf.type_by_kind::<Func<'_>>() {
            // Those that are not static are programs, and get what the kernel gives them.
            if function.linkage() != Linkage::Static {
                continue;
            }
            let Some(prototype) = function.next_type().and_then(|of| FuncProto::try_from(of).ok()) else {
                continue;
            };
            let parameters =
                prototype.iter().filter_map(|parameter| pointee(self.btf.type_by_id(parameter.ty)?));
            found.extend(parameters.map(|of| of.type_id()));
        }
        self.structs().filter(|(id, ..)| found.contains(id)).collect()
    }

    /// The type of a variable, without modifiers and other names for it; `None` if there is no such variable.
    pub(crate) fn variable(&self, name: &str) -> Option<BtfType<'_>> {
        let mut variables = self.btf.type_by_kind::<Var<'_>>();
        let variable = variables.find(|variable| variable.name().is_some_and(|of| of == name))?;
        resolve(variable.next_type()?)
    }

    /// A value of that type as text on one line; `None` if there are too few bytes for one, or the type is damaged.
    pub(crate) fn describe(&mut self, type_id: TypeId, bytes: &[u8]) -> Option<String> {
        let is_sound = self.sound.entry(type_id.into()).or_insert_with(|| is_sound(&self.btf, type_id));
        if !*is_sound {
            return None;
        }
        let options = libbpf_sys::btf_dump_type_data_opts {
            sz: size_of::<libbpf_sys::btf_dump_type_data_opts>() as libbpf_sys::size_t,
            compact: true,
            emit_zeroes: true,
            ..Default::default()
        };
        // SAFETY: the dump is alive, libbpf reads no more of the bytes than their length, and prints into `text`, which nobody
        // else uses meanwhile.
        let result = unsafe {
            libbpf_sys::btf_dump__dump_type_data(
                self.dump.as_ptr(),
                type_id.into(),
                bytes.as_ptr().cast(),
                bytes.len() as libbpf_sys::size_t,
                &raw const options,
            )
        };
        // SAFETY: libbpf prints only while it is called.
        let text = mem::take(unsafe { self.text.as_mut() });
        (result >= 0).then(|| tidy(&quote(&String::from_utf8_lossy(&text))))
    }
}

/// What is at the end of pointers and arrays; `None` if they go in a circle.
fn pointee(of: BtfType<'_>) -> Option<BtfType<'_>> {
    /// More than any program has.
    const DEEPEST: usize = 8;
    let mut of = resolve(of)?;
    for _ in 0..DEEPEST {
        of = match of.kind() {
            BtfKind::Ptr => resolve(of.next_type()?)?,
            BtfKind::Array => resolve(Array::try_from(of).ok()?.contained_type())?,
            _ => return Some(of),
        };
    }
    None
}

/// Follows modifiers and typedefs; `None` if they go in a circle.
pub(crate) fn resolve(mut of: BtfType<'_>) -> Option<BtfType<'_>> {
    /// More than any program has.
    const DEEPEST: usize = 64;
    for _ in 0..DEEPEST {
        if !(of.is_mod() || of.kind() == BtfKind::Typedef) {
            return Some(of);
        }
        of = of.next_type()?;
    }
    None
}

impl Drop for Types {
    fn drop(&mut self) {
        // SAFETY: it was made by `btf_dump__new`, and is freed once.
        unsafe { libbpf_sys::btf_dump__free(self.dump.as_ptr()) };
        // SAFETY: it was leaked from a box in `of`, and libbpf, which knew it, is done.
        drop(unsafe { Box::from_raw(self.text.as_ptr()) });
    }
}

/// Has libbpf parse BTF, which it takes from a file.
pub(crate) fn parse(btf: &[u8]) -> Option<Btf<'static>> {
    let file = std::fs::File::from(memfd_create("btf", MFdFlags::MFD_CLOEXEC).ok()?);
    let mut rest = btf;
    while !rest.is_empty() {
        // By writev(), as everything is written.
        let written = (&file).write_vectored(&[IoSlice::new(rest)]).ok()?;
        rest = rest.get(written..).filter(|_| written > 0)?;
    }
    Btf::from_path(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

/// Libbpf's callback: formats a piece of text and appends it, unless the text is long already.
unsafe extern "C" fn print(
    context: *mut c_void,
    format: *const c_char,
    arguments: *mut libbpf_sys::__va_list_tag,
) {
    // SAFETY: `of` gives the address of a text that outlives the dump, and only libbpf's caller waits for it.
    let text: &mut Vec<u8> = unsafe { &mut *context.cast() };
    if text.len() > LONGEST {
        return;
    }
    let mut piece = [0u8; PIECE];
    // SAFETY: C writes no more than the size, and format and arguments are those of the caller.
    let length = unsafe { vsnprintf(piece.as_mut_ptr().cast(), piece.len(), format, arguments) };
    let length = usize::try_from(length).unwrap_or(0).min(PIECE - 1);
    text.extend(&piece[..length]);
}

/// Makes libbpf's text safe to print: on one line, without the control characters that names in BTF may have, and bounded.
fn tidy(text: &str) -> String {
    let mut tidy: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if tidy.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| tidy.is_char_boundary(*at)).unwrap_or(0);
        tidy.truncate(end);
        tidy.push_str(CUT);
    }
    tidy
}

/// Bytes as hexadecimal digits, bounded.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let shown = bytes.get(..LONGEST / 2).unwrap_or(bytes);
    let mut text: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    if shown.len() < bytes.len() {
        text.push_str(CUT);
    }
    text
}
