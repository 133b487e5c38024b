//! The loader of the crate `libbpf-rs`: the kernel's own C library behind a Rust interface.

mod places;

use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};

use hooklab_types::loader::LoaderKind;
use libbpf_rs::{Link, MapType, Object, ObjectBuilder, OpenObject, TcHook};

use super::libbpf_messages::{self as messages, blamed_program, one_line, verifier_log};
use crate::place::not_attachable;
use crate::{AttachedProgram, Attachment, Attempt, Error, Failure, HookKind, Job, Loader, Program, Value};

const KIND: LoaderKind = LoaderKind::Libbpf;

/// Loads with the crate `libbpf-rs`.
#[derive(Debug)]
pub(super) struct Libbpf;

impl Loader for Libbpf {
    fn kind(&self) -> LoaderKind {
        KIND
    }

    fn attach(&self, job: &Job<'_>) -> Result<Attempt, Error> {
        messages::keep();
        let (object, mut failures) = load(job)?;
        let mut attachment =
            LibbpfAttachment { programs: Vec::new(), held: Vec::new(), iterators: Vec::new(), object };
        if let Some(object) = &mut attachment.object {
            let struct_ops = attach_struct_ops(object);
            attachment.held.extend(struct_ops.links.into_iter().map(Held::Link));
            for &program in job.programs {
                if failures.iter().any(|failure| failure.program == *program) {
                    continue;
                }
                let attached = match (program.hook.kind, &struct_ops.failed) {
                    (HookKind::StructOps, Some(reason)) => Err(not_attachable(program, reason.clone())),
                    _ => attach(object, program, job),
                };
                match attached {
                    Ok((held, id)) => {
                        if program.hook.kind == HookKind::Iterator {
                            attachment.iterators.push((program.name.clone(), attachment.held.len()));
                        }
                        attachment.held.extend(held);
                        let (name, attach) = (program.name.clone(), program.hook.to_string());
                        attachment.programs.push(AttachedProgram { name, attach, id });
                    }
                    Err(error) => failures.push(Failure { program: program.clone(), error }),
                }
            }
        }
        Ok(Attempt { attachment: Box::new(attachment), failures })
    }
}

/// Parses the object, and says which programs to load and what globals are before.
fn open(job: &Job<'_>, failures: &[Failure]) -> Result<OpenObject, Error> {
    let path = job.object.path();
    let mut builder = ObjectBuilder::default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut object = builder
        .name(name.trim_end_matches(".bpf.o"))
        .and_then(|builder| builder.open_memory(job.object.bytes()))
        .map_err(|error| library_error(format!("open `{}`", path.display()), &error))?;
    for mut opened in object.progs_mut() {
        let program = job.programs.iter().find(|program| opened.name() == program.name.as_str());
        let wanted =
            program.is_some_and(|program| !failures.iter().any(|failure| failure.program == **program));
        opened.set_autoload(wanted);
    }
    object.maps_mut().for_each(|mut map| complete(&mut map));
    for value in job.values {
        set_global(&mut object, value).ok_or_else(|| Error::Library {
            loader: KIND,
            what: format!("set `{}`", value.global.name),
            source: format!("there is no map for its section {}", value.global.section).into(),
        })?;
    }
    Ok(object)
}

/// Gives a map for stack traces, or a hash map, the size that its program leaves to whoever loads it: the kernel's own limit for
/// the depth of a stack, and what such programs usually set. With a size of zero the kernel would refuse it.
fn complete(map: &mut libbpf_rs::OpenMapMut<'_>) {
    /// `PERF_MAX_STACK_DEPTH`, the default of `/proc/sys/kernel/perf_event_max_stack`, in addresses.
    const DEEPEST_STACK: u32 = 127;
    const ENTRIES: u32 = 10_240;
    let kind = map.map_type();
    // Neither can fail before the object is loaded.
    if kind == MapType::StackTrace && map.value_size() == 0 {
        let _ = map.set_value_size(DEEPEST_STACK * u32::try_from(size_of::<u64>()).unwrap_or(8));
    }
    if matches!(kind, MapType::StackTrace | MapType::Hash | MapType::LruHash) && map.max_entries() == 0 {
        let _ = map.set_max_entries(ENTRIES);
    }
}

/// Writes a global's initial value into the map that libbpf makes of the global's section.
fn set_global(object: &mut OpenObject, value: &Value) -> Option<()> {
    let Value { global, bytes } = value;
    // libbpf names the map after its section, with the object's name before it if that is `.rodata` itself;
    // `.rodata.str1.1` is another section and another map.
    let mut map = object.maps_mut().find(|map| {
        map.map_type() == MapType::Array && map.name().to_string_lossy().ends_with(&global.section)
    })?;
    let start = usize::try_from(global.offset).ok()?;
    let place = map.initial_value_mut()?.get_mut(start..start.checked_add(bytes.len())?)?;
    place.copy_from_slice(bytes);
    Some(())
}

/// Creates the maps and loads the programs, which verifies them. If one of several cannot be loaded, the others are;
/// without any there is no object.
fn load(job: &Job<'_>) -> Result<(Option<Object>, Vec<Failure>), Error> {
    let mut failures: Vec<Failure> = Vec::new();
    while failures.len() < job.programs.len() {
        let object = open(job, &failures)?;
        messages::take();
        let error = match object.load() {
            Ok(object) => return Ok((Some(object), failures)),
            Err(error) => error,
        };
        let messages = messages::take();
        let blamed = blamed_program(&messages).and_then(|name| {
            let is_it = |program: &&&Program| {
                program.name == name && !failures.iter().any(|failure| failure.program == ***program)
            };
            job.programs.iter().find(is_it)
        });
        let error = verifier_log(&messages).unwrap_or_else(|| Error::Library {
            loader: KIND,
            what: format!("load `{}`", job.object.path().display()),
            source: one_line(&format!("{error:#}"), &messages).into(),
        });
        match blamed {
            Some(&program) => failures.push(Failure { program: program.clone(), error }),
            None => return Err(error),
        }
    }
    Ok((None, failures))
}

/// The links of an object's `struct_ops` maps, and why one of them has none.
struct StructOps {
    links: Vec<Link>,
    failed: Option<String>,
}

/// Attaches the maps of `struct_ops`, through which the kernel calls their programs.
fn attach_struct_ops(object: &mut Object) -> StructOps {
    let mut result = StructOps { links: Vec::new(), failed: None };
    for mut map in object.maps_mut().filter(|map| libbpf_rs::MapCore::map_type(map) == MapType::StructOps) {
        match map.attach_struct_ops() {
            Ok(link) => result.links.push(link),
            Err(error) => result.failed = Some(one_line(&format!("{error:#}"), &messages::take())),
        }
    }
    result
}

/// What keeps a program attached.
enum Held {
    Link(Link),
    /// A link without libbpf's wrapper, or a socket: closing it detaches.
    File(#[expect(dead_code, reason = "it is closed with the rest")] OwnedFd),
    /// A filter of a clsact queueing discipline, which outlives its file descriptor.
    Filter(TcHook),
}

/// Attaches one program, and reads its id.
fn attach(object: &Object, program: &Program, job: &Job<'_>) -> Result<(Vec<Held>, u32), Error> {
    let name = &program.name;
    let loaded =
        object.progs_mut().find(|loaded| loaded.name() == name.as_str()).ok_or_else(|| Error::Library {
            loader: KIND,
            what: format!("find `{name}`"),
            source: "libbpf does not find it in the object".into(),
        })?;
    messages::take();
    // Before it is attached: it may be one that forbids to ask.
    let id = libbpf_rs::Program::id_from_fd(loaded.as_fd())
        .map_err(|error| library_error(format!("ask for the id of `{name}`"), &error))?;
    let held = places::attach(object, &loaded, program, job.place)?;
    Ok((held, id))
}

struct LibbpfAttachment {
    programs: Vec<AttachedProgram>,
    held: Vec<Held>,
    /// Names of programs for iterators, and which of `held` is their link.
    iterators: Vec<(String, usize)>,
    object: Option<Object>,
}

impl Attachment for LibbpfAttachment {
    fn programs(&self) -> &[AttachedProgram] {
        &self.programs
    }

    fn iterators(&self) -> Result<Vec<(String, OwnedFd)>, Error> {
        let open = |(name, at): &(String, usize)| match self.held.get(*at) {
            Some(Held::Link(link)) => Some(open_iterator(link).map(|file| (name.clone(), file))),
            _ => None,
        };
        self.iterators.iter().filter_map(open).collect()
    }

    fn detach(self: Box<Self>) -> Result<(), Error> {
        for held in self.held {
            if let Held::Filter(filter) = held {
                places::remove_filter(filter)?;
            }
        }
        drop(self.object);
        Ok(())
    }
}

/// Opens a file whose content an iterator's program writes.
fn open_iterator(link: &Link) -> Result<OwnedFd, Error> {
    // SAFETY: the call takes a file descriptor, which the link owns, and returns a new one or an error.
    let fd = unsafe { libbpf_rs::libbpf_sys::bpf_iter_create(link.as_fd().as_raw_fd()) };
    if fd < 0 {
        let source = std::io::Error::from_raw_os_error(-fd);
        return Err(Error::System { what: "open an iterator", source });
    }
    // SAFETY: the kernel just made this file descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn attach_error(program: &Program, error: &libbpf_rs::Error) -> Error {
    library_error(format!("attach `{}`", program.name), error)
}

fn library_error(what: String, error: &libbpf_rs::Error) -> Error {
    // The alternate form gives the causes as well.
    Error::Library { loader: KIND, what, source: one_line(&format!("{error:#}"), &messages::take()).into() }
}
