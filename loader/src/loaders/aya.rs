//! The loader of the crate `aya`, written entirely in Rust.

use aya::programs::{ProgramError, TracePoint};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use hooklab_types::loader::LoaderKind;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{AttachPoint, AttachedProgram, Attachment, Error, Job, Loader, Program};

const KIND: LoaderKind = LoaderKind::Aya;

/// Loads with the crate `aya`.
#[derive(Debug)]
pub(super) struct Aya;

impl Loader for Aya {
    fn kind(&self) -> LoaderKind {
        KIND
    }

    fn attach(&self, job: &Job<'_>) -> Result<Box<dyn Attachment>, Error> {
        let mut ebpf = load(job)?;
        let programs = job
            .object
            .programs()
            .iter()
            .map(|program| attach(&mut ebpf, program))
            .collect::<Result<_, _>>()?;
        Ok(Box::new(AyaAttachment { programs, ebpf }))
    }
}

/// Creates the maps and prepares the programs; each is verified later.
fn load(job: &Job<'_>) -> Result<Ebpf, Error> {
    let value = job.filter.map(|(global, pid)| (global.name.as_str(), pid.get().to_ne_bytes()));
    let mut loader = if job.object.has_core_relocations() { EbpfLoader::new() } else { loader_without_btf() };
    // By default aya requests statistics, and with them a log, even on success.
    loader.verifier_log_level(VerifierLogLevel::DEBUG);
    if let Some((name, bytes)) = &value {
        loader.override_global(name, &bytes[..], true);
    }
    let what = || format!("load `{}`", job.object.path().display());
    loader.load(job.object.bytes()).map_err(|error| Error::library(KIND, what(), &error))
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
fn attach(ebpf: &mut Ebpf, program: &Program) -> Result<AttachedProgram, Error> {
    let Program { name, attach_point } = program;
    let AttachPoint::Tracepoint { category, name: event } = attach_point;
    let what = |verb: &str| format!("{verb} `{name}`");
    let tracepoint: &mut TracePoint = ebpf
        .program_mut(name)
        .ok_or(ProgramError::UnexpectedProgramType)
        .and_then(TryInto::try_into)
        .map_err(|error| Error::library(KIND, what("find"), &error))?;
    tracepoint.load().map_err(|error| load_error(name, error))?;
    tracepoint.attach(category, event).map_err(|error| Error::library(KIND, what("attach"), &error))?;
    let info = tracepoint.info().map_err(|error| Error::library(KIND, what("ask for the id of"), &error))?;
    Ok(AttachedProgram { name: name.clone(), attach: attach_point.to_string(), id: info.id() })
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
    ebpf: Ebpf,
}

impl Attachment for AyaAttachment {
    fn programs(&self) -> &[AttachedProgram] {
        &self.programs
    }

    fn detach(self: Box<Self>) -> Result<(), Error> {
        // The links, the programs and the maps belong to it, and go with it.
        drop(self.ebpf);
        Ok(())
    }
}
