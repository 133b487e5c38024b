//! The upstream program `ecli` behind the trait of all loaders.

use hooklab_types::loader::LoaderKind;
use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use hooklab_loader::loaders::libbpf_messages::verifier_log;
use hooklab_loader::{AttachPoint, AttachedProgram, Attachment, Error, Job, Loader, Program, Setting};

use crate::child::{Ecli, Heard};
use crate::flags::Values;
use crate::query::{self, Attached};

/// What `--loader` calls it.
pub(crate) const KIND: LoaderKind = LoaderKind::Ecli;
/// The variable that names the program.
const VARIABLE: &str = "HOOKLAB_ECLI";
/// What it is called on PATH: by upstream, and by `cargo install`.
const PROGRAMS: [&str; 2] = ["ecli", "ecli-rs"];

/// Has `ecli` load and attach.
pub(crate) struct EcliLoader {
    values: Values,
}

impl EcliLoader {
    pub(crate) fn new(values: Values) -> Self {
        Self { values }
    }

    /// The package's flags for `ecli`: those that were given, and the one that `--pid-filter` stands for.
    fn flags(&self, job: &Job<'_>) -> Result<Vec<OsString>, Error> {
        let mut flags = self.values.words.clone();
        if let Some((global, pid)) = job.filter {
            flags.extend([self.values.flag_of(global, KIND)?.into(), pid.to_string().into()]);
        }
        Ok(flags)
    }
}

impl Loader for EcliLoader {
    fn kind(&self) -> LoaderKind {
        KIND
    }

    fn sets(&self) -> &[Setting] {
        &self.values.set
    }

    fn attach(&self, job: &Job<'_>) -> Result<Box<dyn Attachment>, Error> {
        let (program, package) = (program(), job.object.path());
        let verbose = self.values.package.meta.debug_verbose;
        let mut ecli = Ecli::start(&program, package, &self.flags(job)?, verbose)
            .map_err(|source| Error::NoEcli { path: program, source })?;
        let what = format!("run `{}`", package.display());
        match ecli.wait_until_it_runs().map_err(not_heard)? {
            Heard::It => {}
            Heard::End(status) => {
                let said = ecli.take_said();
                return Err(verifier_log(&said).unwrap_or_else(|| ended(what, status, &said)));
            }
            Heard::Nothing => return Err(failed(what, "it did not say that it runs", &ecli.take_said())),
        }
        let mut attached = query::attached_by(ecli.pid())
            .map_err(|source| Error::System { what: "ask what ecli has attached", source })?;
        let programs = self.values.programs(job.object);
        let programs = programs.map(|program| claim(&mut attached, program)).collect::<Result<_, _>>()?;
        Ok(Box::new(EcliAttachment { programs, ecli, has_ended: false }))
    }
}

/// The program that is named by the variable or, without it, is found on PATH.
fn program() -> PathBuf {
    if let Some(named) = env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        return named.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let find = |name: &&str| env::split_paths(&path).map(|directory| directory.join(name)).find(is_program);
    // Starting what is not there fails with the right error.
    PROGRAMS.iter().find_map(find).unwrap_or_else(|| Path::new(PROGRAMS[0]).to_owned())
}

/// Takes the program that the kernel has from what `ecli` has attached: what it says alone is not enough.
fn claim(attached: &mut Vec<Attached>, program: &Program) -> Result<AttachedProgram, Error> {
    let Program { name, attach_point } = program;
    let AttachPoint::Tracepoint { name: event, .. } = attach_point;
    let at = attached.iter().position(|attached| attached.is(name, event)).ok_or_else(|| Error::Library {
        loader: KIND,
        what: format!("attach `{name}`"),
        source: format!(
            "it reports that it runs, but the kernel has none of its programs at `{attach_point}`"
        )
        .into(),
    })?;
    let id = attached.swap_remove(at).id;
    Ok(AttachedProgram { name: name.clone(), attach: attach_point.to_string(), id })
}

struct EcliAttachment {
    programs: Vec<AttachedProgram>,
    ecli: Ecli,
    /// Whether it has ended by itself, and that was told of.
    has_ended: bool,
}

impl Attachment for EcliAttachment {
    fn programs(&self) -> &[AttachedProgram] {
        &self.programs
    }

    fn news(&self) -> Option<BorrowedFd<'_>> {
        Some(self.ecli.output())
    }

    fn heed(&mut self) -> Result<(), Error> {
        let Some(status) = self.ecli.listen().map_err(not_heard)? else { return Ok(()) };
        self.has_ended = true;
        Err(ended("keep the programs attached".to_owned(), status, &self.ecli.take_said()))
    }

    fn detach(mut self: Box<Self>) -> Result<(), Error> {
        let what = "stop".to_owned();
        match self.ecli.stop().map_err(not_heard)? {
            Heard::End(status) if status.success() || self.has_ended => Ok(()),
            Heard::End(status) => Err(ended(what, status, &self.ecli.take_said())),
            Heard::It | Heard::Nothing => Err(failed(what, "it did not end", &self.ecli.take_said())),
        }
    }
}

fn ended(what: String, status: ExitStatus, said: &str) -> Error {
    failed(what, &format!("it ended by itself ({status})"), said)
}

/// An error with what `ecli` said, on one line; without what it logs where all is well, too.
fn failed(what: String, why: &str, said: &str) -> Error {
    let said = said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("INFO "));
    let message = [why].into_iter().chain(said).collect::<Vec<_>>().join("; ");
    Error::Library { loader: KIND, what, source: message.into() }
}

fn not_heard(source: io::Error) -> Error {
    Error::System { what: "listen to ecli", source }
}
