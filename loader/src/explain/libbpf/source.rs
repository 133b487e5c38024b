//! An object in memory, opened with libbpf and loaded, as a whole or one program of it.

use std::ffi::CStr;
use std::io;

use hooklab_types::explain::{Map, ObjectDetails};
use libbpf_rs::{AsRawLibbpf as _, MapType, Object, ObjectBuilder, OpenObject, libbpf_sys};

use super::lines;
use super::loaded::Loaded;
use crate::explain::classify::Subject;
use crate::explain::kernel;
use crate::loaders::libbpf_messages as messages;

/// An object in memory.
pub(super) struct Source<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) name: String,
}

/// An object before it is loaded.
pub(super) struct Described {
    pub(super) subjects: Vec<Subject>,
    pub(super) details: ObjectDetails,
    /// The numbers of the map types, by the maps' names.
    pub(super) map_kinds: Vec<(String, u32)>,
}

/// libbpf gave up.
pub(super) struct Refused {
    pub(super) errno: i32,
    pub(super) messages: String,
    pub(super) logs: Vec<Vec<u8>>,
    /// The line of the source that the last instruction in the log of the one program is from.
    pub(super) source: Option<String>,
}

impl Source<'_> {
    pub(super) fn open(&self) -> Result<OpenObject, Refused> {
        messages::take();
        let mut builder = ObjectBuilder::default();
        let name = self.name.trim_end_matches(".o").trim_end_matches(".bpf");
        let opened = builder.name(name).and_then(|builder| builder.open_memory(self.bytes));
        opened.map_err(|error| {
            let messages = messages::take();
            // libbpf says why; where it does not, its wrapper does.
            let messages = if messages.is_empty() { format!("{error:#}\n") } else { messages };
            Refused {
                errno: io::Error::last_os_error().raw_os_error().unwrap_or(0),
                messages,
                logs: Vec::new(),
                source: None,
            }
        })
    }

    /// The programs, and what the object has besides.
    pub(super) fn describe(&self) -> Result<Described, Refused> {
        let object = self.open()?;
        let subjects = object.progs().map(|program| Subject {
            name: program.name().to_string_lossy().into_owned(),
            section: program.section().to_string_lossy().into_owned(),
            kind: program.prog_type() as u32,
            kind_name: text(|| {
                // SAFETY: the function takes any number, and answers with a static string or NULL.
                unsafe { libbpf_sys::libbpf_bpf_prog_type_str(program.prog_type() as u32) }
            })
            .filter(|name| name != "unspec"),
        });
        let subjects = subjects.collect();
        let maps = object.maps().map(|map| Map {
            name: map.name().to_string_lossy().into_owned(),
            kind: map_kind(map.map_type() as u32),
            key_size: map.key_size(),
            value_size: map.value_size(),
            max_entries: map.max_entries(),
            bytes: None,
        });
        let details = ObjectDetails { maps: maps.collect(), unread_globals: Vec::new() };
        let kind =
            |map: libbpf_rs::OpenMap<'_>| (map.name().to_string_lossy().into_owned(), map.map_type() as u32);
        let map_kinds = object.maps().map(kind).collect();
        Ok(Described { subjects, details, map_kinds })
    }

    /// Loads one program, by its place, or all, with a log of so many bytes for each.
    pub(super) fn load(&self, only: Option<usize>, level: u32, room: usize) -> Result<Loaded, Refused> {
        let mut object = self.open()?;
        let mut logs = Vec::new();
        for (place, mut program) in object.progs_mut().enumerate() {
            let is_wanted = only.is_none_or(|only| only == place);
            program.set_autoload(is_wanted);
            let mut log = vec![0_u8; if is_wanted { room } else { 0 }];
            if is_wanted {
                program.set_log_level(level);
                // SAFETY: the program is alive, and the buffer outlives it: moving the vector does not move its bytes, and
                // whoever gets the object gets the logs, and drops them after it.
                unsafe {
                    libbpf_sys::bpf_program__set_log_buf(
                        program.as_libbpf_object().as_ptr(),
                        log.as_mut_ptr().cast(),
                        log.len() as libbpf_sys::size_t,
                    );
                }
            }
            logs.push(log);
        }
        if let Some(place) = only {
            leave_out_others(&mut object, place);
        }
        // SAFETY: the object is open, and stays ours.
        let status = unsafe { libbpf_sys::bpf_object__load(object.as_libbpf_object().as_ptr()) };
        if status != 0 {
            drop(object);
            return Err(Refused { errno: -status, messages: messages::take(), logs, source: None });
        }
        // SAFETY: it is loaded, and nobody else has the pointer.
        let object = unsafe { Object::from_ptr(object.take_ptr()) };
        Ok(Loaded::new(object, logs, kernel::now()))
    }

    /// The line of the source that an instruction of a program is from.
    pub(super) fn line(&self, place: usize, instruction: u32) -> Option<String> {
        let mut object = self.open().ok()?;
        for (other, mut program) in object.progs_mut().enumerate() {
            program.set_autoload(other == place);
        }
        leave_out_others(&mut object, place);
        // libbpf puts the program together, and forgets its lines when the kernel refuses it.
        // SAFETY: the object is open, and stays ours.
        let status = unsafe { libbpf_sys::bpf_object__prepare(object.as_libbpf_object().as_ptr()) };
        (status == 0).then(|| lines::of_instruction(&object, place, instruction)).flatten()
    }
}

/// Takes all programs but one out of the struct_ops maps: libbpf loads what these refer to, whatever else it is told.
fn leave_out_others(object: &mut OpenObject, place: usize) {
    let programs = object.progs().enumerate().filter(|(other, _)| *other != place);
    let others: Vec<usize> =
        programs.map(|(_, program)| program.as_libbpf_object().as_ptr() as usize).collect();
    for mut map in object.maps_mut().filter(|map| map.map_type() == MapType::StructOps) {
        // Until it is loaded, such a map has pointers to libbpf's programs in the places of functions.
        for slot in map.initial_value_mut().unwrap_or_default().chunks_exact_mut(size_of::<usize>()) {
            if others.iter().any(|other| other.to_ne_bytes() == *slot) {
                slot.fill(0);
            }
        }
    }
}

/// The name of a map type, as libbpf has it.
pub(super) fn map_kind(kind: u32) -> String {
    // SAFETY: the function takes any number, and answers with a static string or NULL.
    text(|| unsafe { libbpf_sys::libbpf_bpf_map_type_str(kind) }).unwrap_or_else(|| format!("type {kind}"))
}

/// A static string of libbpf's.
pub(super) fn text(name: impl FnOnce() -> *const std::ffi::c_char) -> Option<String> {
    let name = name();
    // SAFETY: libbpf's names are static strings that end in NUL.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}
