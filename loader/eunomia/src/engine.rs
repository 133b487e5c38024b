//! eunomia's engine behind the trait of all loaders.

use hooklab_types::loader::LoaderKind;
use std::fs;
use std::io;
use std::num::NonZeroU32;

use bpf_loader_lib::meta::ComposedObject;
use bpf_loader_lib::skeleton::BpfSkeleton;
use bpf_loader_lib::skeleton::builder::BpfSkeletonBuilder;
use hooklab_loader::loaders::libbpf_messages::{self as messages, one_line, verifier_log};
use hooklab_loader::{AttachedProgram, Attachment, Attempt, Error, Global, Job, Loader, Program, Setting};

use crate::flags::{Values, not_listed};

/// Its name for `--loader`.
pub(crate) const KIND: LoaderKind = LoaderKind::Eunomia;

/// Loads with the crate `bpf-loader-lib`.
pub(crate) struct Eunomia {
    values: Values,
}

impl Eunomia {
    pub(crate) fn new(values: Values) -> Self {
        Self { values }
    }
}

impl Loader for Eunomia {
    fn kind(&self) -> LoaderKind {
        KIND
    }

    fn sets(&self) -> &[Setting] {
        &self.values.set
    }

    fn attach(&self, job: &Job<'_>) -> Result<Attempt, Error> {
        let mut package = self.values.package.clone();
        if let Some((global, pid)) = job.filter {
            set_filter(&mut package, global, pid)?;
        }
        // The engine passes the name to C without a terminating NUL.
        package.meta.bpf_skel.obj_name.push('\0');

        if package.meta.debug_verbose {
            messages::keep_and_show();
        } else {
            messages::keep();
        }
        let failed = |what: &str, error: &anyhow::Error| {
            let messages = messages::take();
            verifier_log(&messages).unwrap_or_else(|| Error::Library {
                loader: KIND,
                what: format!("{what} `{}`", job.object.path().display()),
                source: one_line(&format!("{error:#}"), &messages).into(),
            })
        };
        let opened = BpfSkeletonBuilder::from_json_package(&package, None)
            .build()
            .map_err(|error| failed("open", &error))?;
        let skeleton = opened.load_and_attach().map_err(|error| failed("load", &error))?;
        let programs = self.values.programs(job.object);
        let programs = programs.map(|program| describe(&skeleton, program)).collect::<Result<_, _>>()?;
        Ok(Attempt { attachment: Box::new(EunomiaAttachment { programs, skeleton }), failures: Vec::new() })
    }
}

/// Sets the filter, as the package's own flag does.
fn set_filter(package: &mut ComposedObject, global: &Global, pid: NonZeroU32) -> Result<(), Error> {
    let mut variables =
        package.meta.bpf_skel.data_sections.iter_mut().flat_map(|section| &mut section.variables);
    let variable = variables.find(|variable| variable.name == global.name);
    variable.ok_or_else(|| not_listed(global, KIND))?.value = Some(pid.get().into());
    Ok(())
}

fn describe(skeleton: &BpfSkeleton, program: &Program) -> Result<AttachedProgram, Error> {
    let id = skeleton
        .get_prog_fd(&program.name)
        .ok_or(io::ErrorKind::NotFound.into())
        .and_then(program_id)
        .map_err(|source| Error::System { what: "ask for the id of a program", source })?;
    Ok(AttachedProgram { name: program.name.clone(), attach: program.hook.to_string(), id })
}

/// The kernel's id of an open program (the kernel's `bpf_prog_show_fdinfo`).
fn program_id(fd: i32) -> io::Result<u32> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let id = info.lines().find_map(|line| line.strip_prefix("prog_id:"));
    id.and_then(|id| id.trim().parse().ok()).ok_or(io::ErrorKind::InvalidData.into())
}

struct EunomiaAttachment {
    programs: Vec<AttachedProgram>,
    skeleton: BpfSkeleton,
}

impl Attachment for EunomiaAttachment {
    fn programs(&self) -> &[AttachedProgram] {
        &self.programs
    }

    fn detach(self: Box<Self>) -> Result<(), Error> {
        // The links, the programs and the maps belong to it, and go with it.
        drop(self.skeleton);
        Ok(())
    }
}
