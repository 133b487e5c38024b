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
use hooklab_loader::{AttachedProgram, Attachment, Attempt, Error, Job, Loader, Program, Setting};

use crate::child::{Ecli, Waited};
use crate::flags::Values;
use crate::query::{self, Attached};

/// Its name for `--loader`.
pub(crate) const KIND: LoaderKind = LoaderKind::Ecli;
/// The variable that names the program.
const VARIABLE: &str = "HOOKLAB_ECLI";
/// Its names on PATH: upstream's, and that of `cargo install`.
const PROGRAMS: [&str; 2] = ["ecli", "ecli-rs"];

/// Loads and attaches with `ecli`.
pub(crate) struct EcliLoader {
    values: Values,
}

impl EcliLoader {
    pub(crate) fn new(values: Values) -> Self {
        Self { values }
    }

    /// The package's flags for `ecli`: those of the command line, and the one for `--pid-filter`.
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

    fn attach(&self, job: &Job<'_>) -> Result<Attempt, Error> {
        let (program, package) = (program(), job.object.path());
        let verbose = self.values.package.meta.debug_verbose;
        let mut ecli = Ecli::start(&program, package, &self.flags(job)?, verbose)
            .map_err(|source| Error::NoEcli { path: program, source })?;
        let what = format!("run `{}`", package.display());
        match ecli.wait_until_attached().map_err(read_error)? {
            Waited::Found => {}
            Waited::Exited(status) => {
                let output = ecli.take_output();
                return Err(verifier_log(&output).unwrap_or_else(|| ended(what, status, &output)));
            }
            Waited::TimedOut => {
                return Err(failed(
                    what,
                    "it did not report that its programs are attached",
                    &ecli.take_output(),
                ));
            }
        }
        let mut attached = query::attached_by(ecli.pid())
            .map_err(|source| Error::System { what: "list the programs that ecli has attached", source })?;
        let programs = self.values.programs(job.object);
        let programs = programs.map(|program| claim(&mut attached, program)).collect::<Result<_, _>>()?;
        let attachment = Box::new(EcliAttachment { programs, ecli, has_ended: false });
        Ok(Attempt { attachment, failures: Vec::new() })
    }
}

/// The program that the variable names or, if it is not set, the one on PATH.
fn program() -> PathBuf {
    if let Some(named) = env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        return named.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let find = |name: &&str| env::split_paths(&path).map(|directory| directory.join(name)).find(is_program);
    // Starting a missing program fails with the right error.
    PROGRAMS.iter().find_map(find).unwrap_or_else(|| Path::new(PROGRAMS[0]).to_owned())
}

/// Finds a program among those that the kernel reports as attached by `ecli`: its own log is no proof.
fn claim(attached: &mut Vec<Attached>, program: &Program) -> Result<AttachedProgram, Error> {
    let Program { name, hook, .. } = program;
    let event = hook.tracepoint().map(|(_, event)| event);
    let at = attached.iter().position(|attached| attached.is(name, event)).ok_or_else(|| Error::Library {
        loader: KIND,
        what: format!("attach `{name}`"),
        source: format!("it reports that it runs, but the kernel has none of its programs at `{hook}`")
            .into(),
    })?;
    let id = attached.swap_remove(at).id;
    Ok(AttachedProgram { name: name.clone(), attach: hook.to_string(), id })
}

struct EcliAttachment {
    programs: Vec<AttachedProgram>,
    ecli: Ecli,
    /// Whether it has exited by itself, which was reported.
    has_ended: bool,
}

impl Attachment for EcliAttachment {
    fn programs(&self) -> &[AttachedProgram] {
        &self.programs
    }

    fn events(&self) -> Option<BorrowedFd<'_>> {
        Some(self.ecli.stderr())
    }

    fn handle_events(&mut self) -> Result<(), Error> {
        let Some(status) = self.ecli.read_output().map_err(read_error)? else { return Ok(()) };
        self.has_ended = true;
        Err(ended("keep the programs attached".to_owned(), status, &self.ecli.take_output()))
    }

    fn detach(mut self: Box<Self>) -> Result<(), Error> {
        let what = "stop".to_owned();
        match self.ecli.stop().map_err(read_error)? {
            Waited::Exited(status) if status.success() || self.has_ended => Ok(()),
            Waited::Exited(status) => Err(ended(what, status, &self.ecli.take_output())),
            Waited::Found | Waited::TimedOut => {
                Err(failed(what, "it did not exit", &self.ecli.take_output()))
            }
        }
    }
}

fn ended(what: String, status: ExitStatus, output: &str) -> Error {
    failed(what, &format!("it ended by itself ({status})"), output)
}

/// An error with the output of `ecli` on one line, without its messages of level INFO.
fn failed(what: String, why: &str, output: &str) -> Error {
    let lines = output.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("INFO "));
    let message = [why].into_iter().chain(lines).collect::<Vec<_>>().join("; ");
    Error::Library { loader: KIND, what, source: message.into() }
}

fn read_error(source: io::Error) -> Error {
    Error::System { what: "read the output of ecli", source }
}
