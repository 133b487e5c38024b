//! The loader of the crate `aya`, written entirely in Rust.

mod copy;
mod kinds;
mod sections;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use aya::programs::ProgramError;
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use hooklab_types::loader::LoaderKind;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::kinds::{Attaching, Extra};
use crate::place::not_attachable;
use crate::{AttachedProgram, Attachment, Attempt, Error, Failure, Job, Loader, Program, Value};

const KIND: LoaderKind = LoaderKind::Aya;

/// Loads with the crate `aya`.
#[derive(Debug)]
pub(super) struct Aya;

impl Loader for Aya {
    fn kind(&self) -> LoaderKind {
        KIND
    }

    fn attach(&self, job: &Job<'_>) -> Result<Attempt, Error> {
        let mut attachment =
            AyaAttachment { programs: Vec::new(), iterators: Vec::new(), sockets: Vec::new(), ebpf: None };
        let mut failures = Vec::new();
        let (known, unknown): (Vec<&Program>, Vec<_>) =
            job.programs.iter().partition(|program| sections::prefix(&program.hook).is_some());
        for program in unknown {
            let error =
                not_attachable(program, format!("aya has no programs of section `{}`", program.section));
            failures.push(Failure { program: program.clone(), error });
        }
        if known.is_empty() {
            return Ok(Attempt { attachment: Box::new(attachment), failures });
        }
        let mut ebpf = load(job)?;
        let mut attaching = Attaching { place: job.place, btf: None, id: None };
        for program in known {
            match attach(&mut ebpf, program, &mut attaching, &mut attachment) {
                Ok(attached) => attachment.programs.push(attached),
                Err(error) => failures.push(Failure { program: program.clone(), error }),
            }
        }
        attachment.ebpf = Some(ebpf);
        Ok(Attempt { attachment: Box::new(attachment), failures })
    }
}

/// Creates the maps and prepares the programs; each is verified later.
fn load(job: &Job<'_>) -> Result<Ebpf, Error> {
    let object = job.object;
    let mut loader = if object.has_core_relocations() { EbpfLoader::new() } else { loader_without_btf() };
    // By default aya requests statistics, and with them a log, even on success.
    loader.verifier_log_level(VerifierLogLevel::DEBUG);
    for Value { global, bytes } in job.values {
        loader.override_global(&global.name, &bytes[..], true);
    }
    let what = || format!("load `{}`", object.path().display());
    let bytes = sections::readable(object.bytes(), object.programs());
    loader.load(&bytes).map_err(|error| Error::library(KIND, what(), &error))
}

/// Creates a loader without the kernel's types, which only CO-RE relocations need.
///
/// `EbpfLoader::new` reads and parses all of `/sys/kernel/btf/vmlinux` before it can be told not to, which takes
/// longer than all the rest: 0.1 to 0.2 seconds in an emulated guest. If it cannot open the file, it
/// continues without; so the limit of open files is lowered to zero in the meantime.
fn loader_without_btf() -> EbpfLoader<'static> {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return EbpfLoader::new() };
    // No other thread of this process needs a file descriptor in the meantime.
    let closed = setrlimit(Resource::RLIMIT_NOFILE, 0, hard).is_ok();
    let mut loader = EbpfLoader::new();
    if closed {
        // Restoring a soft limit is always allowed.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
    }
    loader.btf(None);
    loader
}

/// Loads one program, which verifies it, and attaches it.
fn attach(
    ebpf: &mut Ebpf,
    program: &Program,
    attaching: &mut Attaching<'_>,
    attachment: &mut AyaAttachment,
) -> Result<AttachedProgram, Error> {
    let name = &program.name;
    let loaded = ebpf.program_mut(name).ok_or_else(|| Error::Library {
        loader: KIND,
        what: format!("find `{name}`"),
        source: "aya does not find it in the object".into(),
    })?;
    attaching.id = None;
    match attaching.attach(loaded, program)? {
        Extra::None => {}
        Extra::Iterator(file) => attachment.iterators.push((name.clone(), file)),
        Extra::Socket(socket) => attachment.sockets.push(socket),
    }
    let id = match attaching.id {
        Some(id) => id,
        None => loaded.info().map_err(|error| library_error("ask for the id of", program, &error))?.id(),
    };
    Ok(AttachedProgram { name: name.clone(), attach: program.hook.to_string(), id })
}

fn library_error(verb: &str, program: &Program, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::library(KIND, format!("{verb} `{}`", program.name), error)
}

/// Distinguishes a rejection by the verifier from other errors: only the verifier writes a log.
fn load_error(program: &str, error: ProgramError) -> Error {
    match error {
        ProgramError::LoadError { verifier_log, .. } if !verifier_log.to_string().trim().is_empty() => {
            Error::Rejected { program: program.to_owned(), log: verifier_log.to_string() }
        }
        error => Error::library(KIND, format!("load `{program}`"), &error),
    }
}

struct AyaAttachment {
    programs: Vec<AttachedProgram>,
    iterators: Vec<(String, File)>,
    /// Sockets with filters: closing one detaches its filter.
    sockets: Vec<OwnedFd>,
    ebpf: Option<Ebpf>,
}

impl Attachment for AyaAttachment {
    fn programs(&self) -> &[AttachedProgram] {
        &self.programs
    }

    fn iterators(&self) -> Result<Vec<(String, OwnedFd)>, Error> {
        let open = |(name, file): &(String, File)| Ok((name.clone(), file.try_clone()?.into()));
        let opened = self.iterators.iter().map(open).collect::<io::Result<_>>();
        opened.map_err(|source| Error::System { what: "open an iterator", source })
    }

    fn detach(self: Box<Self>) -> Result<(), Error> {
        // The links, the programs and the maps belong to it, and go with it.
        drop(self.sockets);
        drop(self.ebpf);
        Ok(())
    }
}
