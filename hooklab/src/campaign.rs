//! A run of tests on kernels: the options that every such command has, and what is done with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use hooklab_types::kernel::Need;
use hooklab_types::report::{Kernel, Report, Shard};
use hooklab_types::test::TestId;
use hooklab_vm::event::Observer;
use hooklab_vm::kernel::{Kernels, Selector, Spec};
use hooklab_vm::payload::Payload;
use hooklab_vm::qemu::accelerator::Choice;
use hooklab_vm::runner::{self, Campaign, EnvValue, EnvVar, Invocation, Isolation};

use crate::exit::{Exit, UsageError};
use crate::guests::{self, Guests, log_path};
use crate::kernels::failed_to;
use crate::lab::Lab;
use crate::naming::Naming;
use crate::options::{KernelOptions, SetupOptions};
use crate::report::collector::Collector;
use crate::report::{Fanout, features, json, junit, markdown, table};
use crate::shard;
use crate::values;

/// Which kernels, in which way, and what is told of it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Run")]
pub struct RunOptions {
    /// A kernel: a series (6.12), an exact release (6.12.117), "rc", a path to a vmlinuz, a bzImage or a .deb,
    /// a kernel build tree, or "host" (the running kernel); or several: "lts", "newest", a range (">=6.1, <7"); may
    /// be repeated
    #[arg(short, long = "kernel", value_name = "SPEC", value_parser = values::kernels, conflicts_with = "all")]
    pub kernels: Vec<Selector>,
    /// Every kernel of the catalog
    #[arg(long)]
    pub all: bool,
    /// Only the I-th of N parts of these kernels, the same however they are ordered
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Machines at a time; where there are fewer kernels, several share a kernel's tests [default: as many as there
    /// are processors, if there is memory for them]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: Option<u16>,
    /// Boot every machine: neither restore saved ones nor save any
    #[arg(long)]
    pub fresh: bool,
    /// Run each test on a pristine machine of its own
    #[arg(long)]
    pub isolate: bool,
    /// What runs the guest's instructions: auto, kvm or tcg
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub accel: Choice,
    /// Put this at the end of the kernels' command lines, such as "lsm=lockdown,yama,bpf"; may be repeated
    #[arg(long, value_name = "TEXT", value_parser = values::append)]
    pub append: Vec<String>,
    /// Time limit for one test
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// Time limit for a guest to come up
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub boot_timeout: u64,
    /// Stop at the first test that does not pass
    #[arg(long)]
    pub fail_fast: bool,
    /// Run a test that does not pass again, up to this many times, each on a fresh machine; one that passes then is
    /// reported as flaky
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u8).range(..=99))]
    pub retries: u8,
    /// Do not compare the kernel after each test with what it was before; to measure what that costs
    #[arg(long, hide = true)]
    pub no_checks: bool,
    /// List the tests that would run, and stop
    #[arg(long)]
    pub list: bool,
    /// Show also what each kernel can do, and what it made of the programs
    #[arg(short, long)]
    pub verbose: bool,
    /// Write the results to this file as JSON
    #[arg(long, value_name = "PATH")]
    pub json: Option<PathBuf>,
    /// Write the results to this file as JUnit XML
    #[arg(long, value_name = "PATH")]
    pub junit: Option<PathBuf>,
    /// Write the results to this file as Markdown, for the summary of a CI's job
    #[arg(long, value_name = "PATH")]
    pub markdown: Option<PathBuf>,
    /// Where kernels come from.
    #[command(flatten)]
    pub kernel_options: KernelOptions,
    /// What may be installed.
    #[command(flatten)]
    pub setup: SetupOptions,
}

/// What is run.
#[derive(Debug)]
pub struct Work {
    /// All that a guest needs.
    pub payload: Payload,
    /// The tests, each with whether its source says that it is to be left out.
    pub tests: Vec<(TestId, bool)>,
    /// What some of them need of a kernel.
    pub needs: BTreeMap<TestId, Vec<Need>>,
    /// Those that are programs which run whole.
    pub whole: BTreeMap<TestId, Invocation>,
    /// Whether observers are to see what they print.
    pub stream: bool,
    /// How their names are read.
    pub naming: Naming,
    /// Environment variables of the tests.
    pub env: Vec<EnvVar>,
    /// Directory in the payload from which new and changed files come back.
    pub collect: Option<String>,
}

impl Work {
    /// Tests that need nothing, of which nothing comes back, and whose names say nothing but themselves.
    pub fn new(payload: Payload, tests: Vec<(TestId, bool)>) -> Self {
        Self {
            payload,
            tests,
            needs: BTreeMap::new(),
            whole: BTreeMap::new(),
            stream: false,
            naming: Naming::Plain,
            env: Vec::new(),
            collect: None,
        }
    }

    /// The variables of the tests, with those of the payload. Of two lists of libraries' directories, the tests' own is
    /// searched first.
    fn environment(&self) -> Vec<EnvVar> {
        let mut libraries = self.payload.environment();
        let is_theirs = |variable: &EnvVar| variable.name == libraries.name;
        let (theirs, mut env): (Vec<_>, Vec<_>) = self.env.iter().cloned().partition(is_theirs);
        if let Some(EnvVar { value: EnvValue::Text(first), name }) = theirs.into_iter().next_back()
            && let EnvValue::Text(then) = &libraries.value
        {
            libraries = EnvVar::text(name, format!("{first}:{then}"));
        }
        env.push(libraries);
        env
    }
}

impl RunOptions {
    /// What the user wants to run on; wrong or unknown specs end the command before anything is made.
    ///
    /// # Errors
    /// [`UsageError`] and unknown kernels.
    pub fn specs(&self, kernels: &Kernels) -> Result<Vec<Spec>> {
        let specs = match (&self.all, self.kernels.is_empty()) {
            (true, _) => kernels.all(),
            (false, true) => kernels.defaults(),
            (false, false) => kernels.select_all(&self.kernels).map_err(failed_to)?,
        };
        let specs = match self.shard {
            Some(shard) => shard::part(shard, specs)?,
            None => specs,
        };
        if !self.append.is_empty() && specs.contains(&Spec::Host) {
            return Err(UsageError(
                "the running kernel has booted; --append cannot be combined with -k host".into(),
            )
            .into());
        }
        if self.isolate && specs.contains(&Spec::Host) {
            return Err(UsageError("--isolate needs a VM; it cannot be combined with -k host".into()).into());
        }
        for spec in &specs {
            kernels.resolve(spec).map_err(failed_to)?;
        }
        if specs.contains(&Spec::Host) && !self.list && !nix::unistd::Uid::effective().is_root() {
            bail!("failed to run on the running kernel: loading eBPF programs needs root; see --help");
        }
        Ok(specs)
    }

    /// The guests in which it runs, with what the options say of them.
    ///
    /// # Errors
    /// As [`Guests::ready`].
    pub fn guests(
        &self,
        lab: &Lab,
        kernels: &Kernels,
        specs: &[Spec],
        agent: &Path,
        observer: &dyn Observer,
    ) -> Result<Guests> {
        let guests = Guests::ready(lab, kernels, specs, self.accel, agent, observer)?;
        Ok(guests.with_append(self.appended().as_deref()))
    }

    /// What kernels get at the end of their command lines, if anything.
    fn appended(&self) -> Option<String> {
        (!self.append.is_empty()).then(|| self.append.join(" "))
    }

    /// Files that could not be written in the end are better told of now.
    ///
    /// # Errors
    /// [`UsageError`].
    pub fn check_reports(&self) -> Result<()> {
        self.json.iter().chain(&self.junit).chain(&self.markdown).try_for_each(|report| json::check(report))
    }

    /// Runs the tests on every kernel, and gives the results.
    ///
    /// # Errors
    /// The user has interrupted the run: what was found out before is worth nothing as a verdict.
    pub fn run(
        &self,
        lab: &Lab,
        guests: &Guests,
        agent: &Path,
        work: &Work,
        begin: Instant,
        observers: &[&dyn Observer],
    ) -> Result<Report> {
        let saved = lab.saved()?;
        let campaign = Campaign {
            payload: &work.payload.archive,
            tests: work.tests.iter().filter(|(_, ignored)| !ignored).map(|(test, _)| test.clone()).collect(),
            needs: work.needs.clone(),
            whole: work.whole.clone(),
            env: work.environment(),
            collect: work.collect.clone(),
            check: !self.no_checks,
            stream: work.stream,
            retries: self.retries.into(),
            timeout: Duration::from_secs(self.timeout),
            boot_timeout: Duration::from_secs(self.boot_timeout),
            machines: self.jobs.map_or_else(guests::at_once, usize::from),
            isolation: if self.isolate { Isolation::Single } else { Isolation::Shared },
            saved: (!self.fresh).then_some(&saved),
            fail_fast: self.fail_fast,
            cancelled: lab.cancelled.clone(),
        };
        let collector = Collector::new(guests.names(), work.tests.clone(), work.naming);
        let fanout = Fanout(observers.iter().copied().chain([&collector as &dyn Observer]).collect());
        let missing = guests.report_missing(campaign.tests.len(), &fanout);
        let stopped = (missing && self.fail_fast) || runner::run(&campaign, guests.jobs(lab, agent), &fanout);
        lab.check_interrupt()?;
        let report = collector.report(guests.accelerator, begin.elapsed(), stopped);
        let append = self.appended();
        let with_append = |kernel| Kernel { append: append.clone(), ..kernel };
        let kernels = report.kernels.into_iter().map(with_append).collect();
        Ok(Report { shard: self.shard, kernels, ..report })
    }

    /// Writes the reports that were asked for, each whether or not the others can be.
    ///
    /// # Errors
    /// One cannot be written.
    pub fn write_reports(&self, report: &Report) -> Result<()> {
        let json = self.json.as_ref().map_or(Ok(()), |path| json::write(report, path));
        let junit = self.junit.as_ref().map_or(Ok(()), |path| junit::write(report, path));
        let markdown = self.markdown.as_ref().map_or(Ok(()), |path| markdown::write(report, path));
        json.and(junit).and(markdown)
    }

    /// Shows the results, but for the last line.
    pub fn show(&self, lab: &Lab, report: &Report) {
        let failures = table::failures(report);
        out!("{failures}\n{}", table::table(report));
        if self.verbose {
            out!("\n{}", features::text(report));
        }
        if !failures.is_empty() {
            out!("\nconsoles: {}", log_path(lab, "*").display());
        }
    }
}

/// Shows the last line of the results, and says how to exit.
pub fn conclude(report: &Report) -> Exit {
    out!("\n{}", table::verdict(report));
    Exit::of(report)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use hooklab_vm::qemu::accelerator::Accelerator;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunOptions,
    }

    #[test]
    fn each_report_is_written_whether_or_not_the_others_can_be() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name).display().to_string();
        // A directory stands where one of them would go.
        std::fs::create_dir(place.path().join("a.xml")).unwrap();
        let line = ["x", "--json", &path("a.json"), "--junit", &path("a.xml"), "--markdown", &path("a.md")];
        let options = Line::parse_from(line).run;
        assert!(options.check_reports().unwrap_err().is::<UsageError>());
        let none = Collector::new(Vec::new(), Vec::new(), Naming::Plain);
        let report = none.report(Accelerator::Tcg, Duration::ZERO, false);
        assert!(options.write_reports(&report).is_err());
        let read = |name| std::fs::read_to_string(place.path().join(name)).unwrap();
        assert!(read("a.json").contains("\"schema\""), "{}", read("a.json"));
        assert!(read("a.md").contains("| KERNEL"), "{}", read("a.md"));
    }
}
