//! How types of BTF are written in C, by libbpf's own printer.

use std::ffi::{c_char, c_void};
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::ptr::{self, NonNull};

use libbpf_rs::btf::{Btf, TypeId};
use libbpf_rs::{AsRawLibbpf as _, libbpf_sys as sys};

/// The printed text.
#[derive(Default)]
struct Text(String);

/// A printer of the types in one BTF.
pub(crate) struct Printer<'btf> {
    dump: NonNull<sys::btf_dump>,
    /// libbpf keeps its address, so it must not move.
    text: Box<Text>,
    btf: PhantomData<&'btf Btf<'btf>>,
}

impl<'btf> Printer<'btf> {
    pub(crate) fn new(btf: &'btf Btf<'btf>) -> io::Result<Self> {
        let mut text = Box::<Text>::default();
        let context = ptr::from_mut(&mut *text).cast();
        // SAFETY: The BTF outlives the printer, as its lifetime says; libbpf hands the text's address to `append` and
        // does nothing else with it.
        let dump = unsafe {
            sys::btf_dump__new(btf.as_libbpf_object().as_ptr(), Some(append), context, ptr::null())
        };
        let dump = NonNull::new(dump).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { dump, text, btf: PhantomData })
    }

    /// A type as it stands in a declaration without a name, such as `char[16]`.
    ///
    /// With `strip_qualifiers`, `const` and `volatile` are left out wherever they stand.
    pub(crate) fn print(&mut self, id: TypeId, strip_qualifiers: bool) -> io::Result<String> {
        self.text.0.clear();
        let options = sys::btf_dump_emit_type_decl_opts {
            sz: size_of::<sys::btf_dump_emit_type_decl_opts>() as sys::size_t,
            field_name: c"".as_ptr(),
            indent_level: 2,
            strip_mods: strip_qualifiers,
            ..Default::default()
        };
        // SAFETY: The printer lives, and the options do as long as the call.
        let result =
            unsafe { sys::btf_dump__emit_type_decl(self.dump.as_ptr(), id.into(), &raw const options) };
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        Ok(mem::take(&mut self.text.0))
    }
}

impl Printer<'_> {
    /// The definition of a type, after those that it needs and that were not printed before.
    pub(crate) fn define(&mut self, id: u32) -> io::Result<String> {
        self.text.0.clear();
        // SAFETY: The printer lives; libbpf checks the number.
        let result = unsafe { sys::btf_dump__dump_type(self.dump.as_ptr(), id) };
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        Ok(mem::take(&mut self.text.0))
    }
}

impl Drop for Printer<'_> {
    fn drop(&mut self) {
        // SAFETY: Nobody else has it.
        unsafe { sys::btf_dump__free(self.dump.as_ptr()) };
    }
}

/// libbpf prints by calling this, with its format and arguments as those of `vprintf`.
unsafe extern "C" fn append(context: *mut c_void, format: *const c_char, arguments: *mut sys::__va_list_tag) {
    // SAFETY: It is the address that `new` gave, and while libbpf prints nobody else uses the text.
    let text = unsafe { &mut *context.cast::<Text>() };
    // SAFETY: Both are what libbpf got from its own variadic function.
    if let Ok(printed) = unsafe { vsprintf::vsprintf(format, arguments) } {
        text.0.push_str(&printed);
    }
}
