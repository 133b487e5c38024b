//! `cargo xtask vm-test`: the main job.

use std::time::{Duration, Instant};

use anyhow::Result;
use hooklab_vm::binary::{self, Test};
use hooklab_vm::event::Observer;
use hooklab_vm::kernel::{Kernels, Spec};
use hooklab_vm::run::{self, Campaign, Isolation};

use super::guests::{Guests, log_path};
use super::{failed_to, machines, open_kernels};
use crate::build::{self, Artifacts, Programs, SNAPSHOTS, TEST_BINARY, WORKSPACE};
use crate::cli::{ProgramOptions, VmTest};
use crate::ecli::{self, Ecli};
use crate::exit::{Exit, UsageError};
use crate::lab::Lab;
use crate::report::snapshots::Snapshots;
use crate::report::summary::{Collector, Summary};
use crate::report::{self, Fanout, json, junit, knowledge, table};
use crate::selection::{self, Name};
use crate::setup::{self, Purpose};

impl VmTest {
    /// Boots kernels, runs tests, reports.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Exit> {
        let begin = Instant::now();
        let kernels = open_kernels(lab, &self.kernel_options)?;
        let specs = self.specs(&kernels)?;
        self.check_paths()?;
        let live = report::live(true);
        let observer = live.as_ref();
        let ecli = Ecli::find(&self.ecli, observer)?;
        if ecli.is_none() && self.loaders.iter().any(|loader| loader == ecli::LOADER) {
            return Err(Ecli::missing().into());
        }
        let mut artifacts = self.prepare(lab, &specs, observer)?;
        let tests = self.tests(&artifacts, ecli.is_some())?;
        if self.list {
            drop(live);
            list(&specs, &tests);
            return Ok(Exit::Success);
        }
        let guests = Guests::ready(lab, &kernels, &specs, self.accel, &artifacts.agent, observer)?;
        // Both are large: where no test needs them, no guest gets them.
        if !selection::need(&tests, &["eunomia", ecli::LOADER]) {
            artifacts.leave_out(build::EUNOMIA);
        }
        let ecli = ecli.filter(|_| selection::loaders(&tests).iter().any(|loader| loader == ecli::LOADER));
        let payload = build::pack(lab, &artifacts, ecli.as_ref())?;
        lab.check_interrupt()?;

        let expected = tests.iter().map(|test| (test.name.clone(), test.ignored)).collect();
        let collector = Collector::new(guests.names(), expected);
        let snapshots = Snapshots::new(self.bless);
        let fanout = Fanout(vec![observer, &collector, &snapshots]);
        let stopped = self.run_all(lab, &guests, &artifacts, &payload, &tests, &fanout)?;
        drop(live);
        // What was found out before an interrupt is worth nothing as a verdict.
        lab.check_interrupt()?;
        let summary = collector.summary(guests.accelerator, begin.elapsed(), stopped);
        self.conclude(lab, &Summary { shard: self.shard, ..summary }, &snapshots)
    }

    /// Files that could not be read or written in the end are better told of now.
    fn check_paths(&self) -> Result<()> {
        for report in self.json.iter().chain(&self.junit) {
            json::check(report)?;
        }
        let check = |path| {
            binary::check(path).map_err(|error| UsageError(format!("{:#}", anyhow::Error::from(error))))
        };
        Ok(self.binary.iter().try_for_each(|path| check(path))?)
    }

    /// What the user wants to run on; wrong or unknown specs end the command before anything is made.
    fn specs(&self, kernels: &Kernels) -> Result<Vec<Spec>> {
        let specs = match (&self.all, self.kernels.is_empty()) {
            (true, _) => kernels.all(),
            (false, true) => kernels.defaults(),
            (false, false) => kernels.select_all(&self.kernels).map_err(failed_to)?,
        };
        let specs = match self.shard {
            Some(shard) => shard.part_of(specs)?,
            None => specs,
        };
        if self.isolate && specs.contains(&Spec::Host) {
            return Err(UsageError(
                "the running kernel cannot be had anew for each test: --isolate needs a machine".into(),
            )
            .into());
        }
        for spec in &specs {
            kernels.resolve(spec).map_err(failed_to)?;
        }
        if specs.contains(&Spec::Host) && !self.list && !nix::unistd::Uid::effective().is_root() {
            anyhow::bail!(
                "failed to run on the running kernel: loading eBPF programs needs root; see --help"
            );
        }
        Ok(specs)
    }

    fn prepare(&self, lab: &Lab, specs: &[Spec], observer: &dyn Observer) -> Result<Artifacts> {
        let purpose = if specs == [Spec::Host] || self.list { Purpose::Build } else { Purpose::Run };
        setup::ensure(lab, purpose, &self.setup, observer)?;
        let programs = if self.list {
            Programs::default()
        } else if self.binary.is_some() && self.programs == ProgramOptions::default() {
            // Other people's tests rarely need ours, and what is built in seconds does no harm.
            Programs { c: true, rust: None }
        } else {
            super::programs(lab, &self.programs, &self.setup, observer)?
        };
        let built = build::build(lab, &programs, observer)?;
        let tests = self.binary.as_ref().map_or(Ok(built.tests), std::path::absolute)?;
        Ok(Artifacts { tests, ..built })
    }

    /// The tests that are wanted; none is a mistake on the command line.
    fn tests(&self, artifacts: &Artifacts, has_ecli: bool) -> Result<Vec<Test>> {
        let mut all = binary::list(&artifacts.tests).map_err(failed_to)?;
        if !has_ecli {
            all = selection::without(all, ecli::LOADER);
        }
        let known = selection::loaders(&all);
        if let Some(unknown) = self.loaders.iter().find(|loader| !known.contains(loader)) {
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            return Err(UsageError(format!(
                "there is no loader {unknown:?} in these tests: there is {known}"
            ))
            .into());
        }
        let wanted = selection::select(all, &self.filters, &self.loaders, &self.programs);
        if wanted.iter().all(|test| test.ignored) {
            return Err(UsageError("no test is left to run; --list shows all there are".into()).into());
        }
        Ok(wanted)
    }

    /// Runs the tests on every kernel; says whether a failure ended that early.
    fn run_all(
        &self,
        lab: &Lab,
        guests: &Guests,
        artifacts: &Artifacts,
        payload: &[u8],
        tests: &[Test],
        observer: &Fanout<'_>,
    ) -> Result<bool> {
        let saved = lab.saved()?;
        let campaign = Campaign {
            payload,
            binary: TEST_BINARY.into(),
            tests: tests.iter().filter(|test| !test.ignored).map(|test| test.name.clone()).collect(),
            env: self.environment(),
            // Of other people's tests nothing is to come into our checkout.
            collect: self.binary.is_none().then(|| WORKSPACE.into()),
            check: !self.no_checks,
            retries: self.retries.into(),
            timeout: Duration::from_secs(self.timeout),
            boot_timeout: Duration::from_secs(self.boot_timeout),
            machines: self.jobs.map_or_else(machines::at_once, usize::from),
            isolation: if self.isolate { Isolation::Single } else { Isolation::Shared },
            saved: (!self.fresh).then_some(&saved),
            fail_fast: self.fail_fast,
            cancelled: lab.cancelled.clone(),
        };
        if guests.report_missing(campaign.tests.len(), observer) && self.fail_fast {
            return Ok(true);
        }
        Ok(run::run(&campaign, guests.jobs(lab, &artifacts.agent), observer))
    }

    /// What insta needs to find its files in the guest (insta's documentation, "Environment variables").
    fn environment(&self) -> Vec<(String, String)> {
        // "force" writes what is unchanged, too: so those that agree are heard as well as those that do not.
        let update = if self.bless { "force" } else { "new" };
        [
            ("INSTA_WORKSPACE_ROOT", format!("{{payload}}/{WORKSPACE}")),
            ("INSTA_UPDATE", update.to_owned()),
            ("RUST_BACKTRACE", "0".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .chain([Ecli::environment()])
        .collect()
    }

    /// Writes and shows the results, and says how to exit.
    fn conclude(&self, lab: &Lab, summary: &Summary, snapshots: &Snapshots) -> Result<Exit> {
        let json = self.json.as_ref().map_or(Ok(()), |path| json::write(summary, path));
        let junit = self.junit.as_ref().map_or(Ok(()), |path| junit::write(summary, path));
        let stored = snapshots.store(&lab.root);

        let failures = table::failures(summary);
        out!("{failures}\n{}", table::table(summary));
        if self.verbose {
            out!("\n{}", knowledge::text(summary));
        }
        if !failures.is_empty() {
            out!("\nconsoles: {}", log_path(lab, "*").display());
        }
        match (&stored, self.bless) {
            (Ok(count), true) => out!("\n{count} snapshots changed in {SNAPSHOTS}"),
            (Ok(0) | Err(_), _) => {}
            (Ok(count), false) => {
                out!("\n{count} snapshots differ: `cargo insta review` shows them, --bless accepts them all");
            }
        }
        out!("\n{}", table::verdict(summary));
        json.and(junit).and(stored)?;
        Ok(summary.exit())
    }
}

fn list(specs: &[Spec], tests: &[Test]) {
    for spec in specs {
        for test in tests {
            let ignored = if test.ignored { " (ignored)" } else { "" };
            out!("{spec} {}{ignored}", Name::parse(&test.name));
        }
    }
}
