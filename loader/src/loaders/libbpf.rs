//! The loader of the crate `libbpf-rs`: the kernel's own C library behind a Rust interface.

use hooklab_types::loader::LoaderKind;
use std::os::fd::AsFd as _;

use libbpf_rs::{Link, MapType, Object, ObjectBuilder, OpenObject, TracepointCategory};

use super::libbpf_messages::{self as messages, one_line, verifier_log};
use crate::{AttachPoint, AttachedProgram, Attachment, Error, Global, Job, Loader, Program};

const KIND: LoaderKind = LoaderKind::Libbpf;

/// Loads with the crate `libbpf-rs`.
#[derive(Debug)]
pub(super) struct Libbpf;

impl Loader for Libbpf {
    fn kind(&self) -> LoaderKind {
        KIND
    }

    fn attach(&self, job: &Job<'_>) -> Result<Box<dyn Attachment>, Error> {
        messages::keep();
        let object = load(open(job)?, job)?;
        let attached = job.object.programs().iter().map(|program| attach(&object, program));
        let (links, programs) = attached.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        Ok(Box::new(LibbpfAttachment { programs, links, object }))
    }
}

/// Parses the object and sets the filter in it, before anything is loaded.
fn open(job: &Job<'_>) -> Result<OpenObject, Error> {
    let path = job.object.path();
    let mut builder = ObjectBuilder::default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut object = builder
        .name(name.trim_end_matches(".bpf.o"))
        .and_then(|builder| builder.open_memory(job.object.bytes()))
        .map_err(|error| library_error(format!("open `{}`", path.display()), &error))?;
    if let Some((global, pid)) = job.filter {
        set_global(&mut object, global, &pid.get().to_ne_bytes()).ok_or_else(|| Error::Library {
            loader: KIND,
            what: format!("set `{}`", global.name),
            source: format!("there is no map for its section {}", global.section).into(),
        })?;
    }
    Ok(object)
}

/// Writes a global's initial value into the map that libbpf makes of the global's section.
fn set_global(object: &mut OpenObject, global: &Global, value: &[u8]) -> Option<()> {
    // libbpf names the map after its section, with the object's name before it if that is `.rodata` itself;
    // `.rodata.str1.1` is another section and another map.
    let mut map = object.maps_mut().find(|map| {
        map.map_type() == MapType::Array && map.name().to_string_lossy().ends_with(&global.section)
    })?;
    let start = usize::try_from(global.offset).ok()?;
    let place = map.initial_value_mut()?.get_mut(start..start.checked_add(value.len())?)?;
    place.copy_from_slice(value);
    Some(())
}

/// Creates the maps and loads all programs, which verifies them.
fn load(object: OpenObject, job: &Job<'_>) -> Result<Object, Error> {
    object.load().map_err(|error| {
        let messages = messages::take();
        verifier_log(&messages).unwrap_or_else(|| {
            let what = format!("load `{}`", job.object.path().display());
            Error::Library { loader: KIND, what, source: one_line(&format!("{error:#}"), &messages).into() }
        })
    })
}

/// Attaches one program and reads its id.
fn attach(object: &Object, program: &Program) -> Result<(Link, AttachedProgram), Error> {
    let Program { name, attach_point } = program;
    let AttachPoint::Tracepoint { category, name: event } = attach_point;
    let loaded =
        object.progs_mut().find(|loaded| loaded.name() == name.as_str()).ok_or_else(|| Error::Library {
            loader: KIND,
            what: format!("find `{name}`"),
            source: "libbpf does not find it in the object".into(),
        })?;
    let link = loaded
        .attach_tracepoint(TracepointCategory::Custom(category.clone()), event)
        .map_err(|error| library_error(format!("attach `{name}`"), &error))?;
    let id = libbpf_rs::Program::id_from_fd(loaded.as_fd())
        .map_err(|error| library_error(format!("ask for the id of `{name}`"), &error))?;
    Ok((link, AttachedProgram { name: name.clone(), attach: attach_point.to_string(), id }))
}

struct LibbpfAttachment {
    programs: Vec<AttachedProgram>,
    links: Vec<Link>,
    object: Object,
}

impl Attachment for LibbpfAttachment {
    fn programs(&self) -> &[AttachedProgram] {
        &self.programs
    }

    fn detach(self: Box<Self>) -> Result<(), Error> {
        drop(self.links);
        drop(self.object);
        Ok(())
    }
}

fn library_error(what: String, error: &libbpf_rs::Error) -> Error {
    // The alternate form gives the causes as well.
    Error::Library { loader: KIND, what, source: one_line(&format!("{error:#}"), &messages::take()).into() }
}
