//! `cargo xtask vm-test`: the main job.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use hooklab::campaign::{RunOptions, Work, conclude};
use hooklab::ecli::Ecli;
use hooklab::exit::{Exit, UsageError};
use hooklab::guest_half::EUNOMIA;
use hooklab::kernels::{self, failed_to};
use hooklab::lab::Lab;
use hooklab::naming::Naming;
use hooklab::options::EcliOptions;
use hooklab::setup::{self, Purpose};
use hooklab::{out, report};
use hooklab_types::loader::LoaderKind;
use hooklab_types::report::Report;
use hooklab_vm::binary;
use hooklab_vm::event::Observer;
use hooklab_vm::kernel::Spec;
use hooklab_vm::runner::EnvVar;

use crate::build::{self, Artifacts, Programs, SNAPSHOTS, WORKSPACE};
use crate::checkout::Checkout;
use crate::programs::ProgramOptions;
use crate::selection::{self, Selection};
use crate::snapshots::Snapshots;

/// Boot kernels and run the guest tests on them
///
/// Without --kernel or --all: one long-term series and the newest one.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cargo xtask vm-test                              the default kernels, every test
  cargo xtask vm-test -k 5.10 -k 6.12              these two series
  cargo xtask vm-test -k lts -k \">=7.1\"            the long-term ones and those from 7.1 on
  cargo xtask vm-test -k ~/linux/arch/x86/boot/bzImage -l aya filter
                                                   aya's filter tests on a kernel of your own
  sudo -E env PATH=\"$PATH\" cargo xtask vm-test -k host
                                                   on the running kernel, without a machine
  cargo xtask vm-test -l ecli --ecli ~/ecli/bin/ecli-rs
                                                   the tests of upstream's own ecli
  cargo xtask vm-test --all --json out.json --junit out.xml")]
pub(crate) struct VmTest {
    /// Run only tests whose name contains one of these
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
    /// Only tests of this loader, leaving out those that are not one loader's own; may be repeated
    #[arg(short, long = "loader", value_name = "NAME")]
    pub(crate) loaders: Vec<String>,
    #[command(flatten)]
    pub(crate) ecli: EcliOptions,
    /// Run the tests of this libtest binary instead of the lab's own
    #[arg(long, value_name = "PATH", conflicts_with = "bless")]
    pub(crate) binary: Option<PathBuf>,
    /// Accept what the tests saw as their new snapshots
    #[arg(long)]
    pub(crate) bless: bool,
    #[command(flatten)]
    pub(crate) run: RunOptions,
    #[command(flatten)]
    pub(crate) programs: ProgramOptions,
}

impl VmTest {
    /// Boots kernels, runs tests, reports.
    pub(crate) fn run(&self, checkout: &Checkout, lab: &Lab) -> Result<Exit> {
        let begin = Instant::now();
        let kernels = kernels::open(lab, &self.run.kernel_options)?;
        let specs = self.run.specs(&kernels)?;
        self.check_paths()?;
        let live = report::live(true, self.naming());
        let observer = live.as_ref();
        let ecli = Ecli::find(&self.ecli, observer)?;
        if ecli.is_none() && self.loaders.iter().any(|loader| loader == LoaderKind::Ecli.name()) {
            return Err(Ecli::missing().into());
        }
        let mut artifacts = self.prepare(checkout, lab, &specs, observer)?;
        let tests = self.tests(&artifacts, ecli.is_some())?;
        if self.run.list {
            drop(live);
            list(&specs, &tests);
            return Ok(Exit::Success);
        }
        let agent = artifacts.guest.agent.clone();
        let guests = self.run.guests(lab, &kernels, &specs, &agent, observer)?;
        // Both are large: where no test needs them, no guest gets them.
        if !tests.need(&[LoaderKind::Eunomia.name(), LoaderKind::Ecli.name()]) {
            artifacts.leave_out(EUNOMIA);
        }
        let ecli = ecli.filter(|_| tests.loaders().iter().any(|loader| loader == LoaderKind::Ecli.name()));
        let payload = build::pack(checkout, &artifacts, ecli.as_ref())?;
        let ids = tests.tests.iter().map(|test| (selection::id(test), test.ignored)).collect();
        let work = Work {
            needs: tests.needs(),
            naming: self.naming(),
            env: self.environment(),
            // Of other people's tests nothing is to come into our checkout.
            collect: self.binary.is_none().then(|| WORKSPACE.into()),
            ..Work::new(payload, ids)
        };
        lab.check_interrupt()?;
        let snapshots = Snapshots::new(self.bless);
        let report = self.run.run(lab, &guests, &agent, &work, begin, &[observer, &snapshots])?;
        drop(live);
        self.conclude(checkout, lab, &report, &snapshots)
    }

    /// The names of other people's tests are not taken apart.
    fn naming(&self) -> Naming {
        if self.binary.is_some() { Naming::Plain } else { Naming::Cases }
    }

    /// Files that could not be read or written in the end are better told of now.
    fn check_paths(&self) -> Result<()> {
        self.run.check_reports()?;
        let check = |path| {
            binary::check(path).map_err(|error| UsageError(format!("{:#}", anyhow::Error::from(error))))
        };
        Ok(self.binary.iter().try_for_each(|path| check(path))?)
    }

    fn prepare(
        &self,
        checkout: &Checkout,
        lab: &Lab,
        specs: &[Spec],
        observer: &dyn Observer,
    ) -> Result<Artifacts> {
        let boots = specs != [Spec::Host] && !self.run.list;
        let purposes: &[Purpose] =
            if boots { &[Purpose::Compile, Purpose::Run] } else { &[Purpose::Compile] };
        setup::ensure(lab, purposes, &self.run.setup, observer)?;
        let programs = if self.run.list {
            Programs::default()
        } else if self.binary.is_some() && self.programs == ProgramOptions::default() {
            // Other people's tests rarely need ours, and what is built in seconds does no harm.
            Programs { c: true, rust: None }
        } else {
            self.programs.ready(lab, &self.run.setup, observer)?
        };
        let built = build::build(checkout, lab, &programs, observer)?;
        let tests = self.binary.as_ref().map_or(Ok(built.tests), std::path::absolute)?;
        Ok(Artifacts { tests, ..built })
    }

    /// The tests that are wanted; none is a mistake on the command line.
    fn tests(&self, artifacts: &Artifacts, has_ecli: bool) -> Result<Selection> {
        let all = binary::list(&artifacts.tests).map_err(|error| match self.binary {
            Some(_) => UsageError(format!("{:#}", anyhow::Error::from(error))).into(),
            None => failed_to(error),
        })?;
        let mut tests = Selection::new(all, self.naming());
        if !has_ecli {
            tests.leave_out(LoaderKind::Ecli.name());
        }
        let known = tests.loaders();
        if let Some(unknown) = self.loaders.iter().find(|loader| !known.contains(loader)) {
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            return Err(UsageError(format!(
                "there is no loader {unknown:?} in these tests: there is {known}"
            ))
            .into());
        }
        tests.select(&self.filters, &self.loaders, &self.programs);
        if tests.tests.iter().all(|test| test.ignored) {
            return Err(UsageError("no test is left to run; --list shows all there are".into()).into());
        }
        Ok(tests)
    }

    /// What insta needs to find its files in the guest (insta's documentation, "Environment variables").
    fn environment(&self) -> Vec<EnvVar> {
        // "force" writes what is unchanged, too: so those that agree are heard as well as those that do not.
        let update = if self.bless { "force" } else { "new" };
        vec![
            EnvVar::in_payload("INSTA_WORKSPACE_ROOT", WORKSPACE),
            EnvVar::text("INSTA_UPDATE", update),
            EnvVar::text("RUST_BACKTRACE", "0"),
            Ecli::environment(),
        ]
    }

    /// Writes and shows the results, and says how to exit.
    fn conclude(
        &self,
        checkout: &Checkout,
        lab: &Lab,
        report: &Report,
        snapshots: &Snapshots,
    ) -> Result<Exit> {
        let written = self.run.write_reports(report);
        let stored = snapshots.store(&checkout.root);
        self.run.show(lab, report);
        match (&stored, self.bless) {
            (Ok(count), true) => out!("\n{count} snapshots changed in {SNAPSHOTS}"),
            (Ok(0) | Err(_), _) => {}
            (Ok(count), false) => {
                out!("\n{count} snapshots differ: `cargo insta review` shows them, --bless accepts them all");
            }
        }
        let exit = conclude(report);
        written.and(stored)?;
        Ok(exit)
    }
}

fn list(specs: &[Spec], tests: &Selection) {
    for spec in specs {
        for title in tests.titles() {
            out!("{spec} {title}");
        }
    }
}
