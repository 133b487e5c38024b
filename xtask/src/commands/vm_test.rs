//! `cargo xtask vm-test`: the main job.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use hooklab_vm::accel::Accelerator;
use hooklab_vm::compose::{self, Composed, Tools};
use hooklab_vm::event::{Event, Observer, Outcome};
use hooklab_vm::kernel::{Kernel, Kernels, Source, Spec};
use hooklab_vm::machine::Plan;
use hooklab_vm::run::{self, Job, Test};

use super::{accelerate, failed_to, obtain, open_kernels};
use crate::build::{self, Artifacts, SNAPSHOTS, TEST_BINARY, WORKSPACE};
use crate::cli::VmTest;
use crate::exit::{Exit, UsageError};
use crate::lab::Lab;
use crate::report::snapshots::Snapshots;
use crate::report::summary::{Collector, Summary};
use crate::report::{self, Fanout, json, junit, table};
use crate::selection::{self, Name};
use crate::setup::{self, Purpose};

/// A kernel that is ready to run tests.
struct Ready {
    kernel: Kernel,
    /// The machine; `None` for the running kernel.
    composed: Option<Composed>,
}

impl VmTest {
    /// Boots kernels, runs tests, reports.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Exit> {
        let begin = Instant::now();
        let kernels = open_kernels(lab, &self.kernel_options)?;
        let specs = self.specs(&kernels)?;
        let live = report::live(true);
        let observer = live.as_ref();
        let mut artifacts = self.prepare(lab, &specs, observer)?;
        if let Some(binary) = &self.binary {
            artifacts.tests = std::path::absolute(binary)?;
        }
        let tests = self.tests(&artifacts)?;
        if self.list {
            drop(live);
            list(&specs, &tests);
            return Ok(Exit::Success);
        }
        let tools = if specs == [Spec::Host] { None } else { Some(setup::tools(lab)?) };
        let ready = obtain(lab, &kernels, &specs, observer)?;
        let accelerator = self.settle(lab, tools.as_ref(), &ready, &artifacts, observer)?;
        let ready = compose_all(lab, tools.as_ref(), ready, accelerator)?;
        let payload = build::pack(lab, &artifacts)?;
        lab.check_interrupt()?;

        let names = ready.iter().map(|ready| ready.kernel.spec.clone()).collect();
        let expected = tests.iter().map(|test| (test.name.clone(), test.ignored)).collect();
        let (collector, snapshots) = (Collector::new(names, expected), Snapshots::default());
        let fanout = Fanout(vec![observer, &collector, &snapshots]);
        self.run_all(lab, &ready, &artifacts, &payload, &tests, &fanout);
        drop(live);
        // What was found out before an interrupt is worth nothing as a verdict.
        lab.check_interrupt()?;
        self.conclude(lab, &collector.summary(accelerator, begin.elapsed()), &snapshots)
    }

    /// What the user wants to run on; wrong or unknown specs end the command before anything is made.
    fn specs(&self, kernels: &Kernels) -> Result<Vec<Spec>> {
        let mut specs = match (&self.all, self.kernels.is_empty()) {
            (true, _) => kernels.all(),
            (false, true) => kernels.defaults(),
            (false, false) => self.kernels.clone(),
        };
        let mut seen = Vec::new();
        specs.retain(|spec| {
            !seen.contains(spec) && {
                seen.push(spec.clone());
                true
            }
        });
        for spec in &specs {
            kernels.resolve(spec).map_err(failed_to)?;
        }
        if specs.contains(&Spec::Host) && !nix::unistd::Uid::effective().is_root() {
            anyhow::bail!(
                "failed to run on the running kernel: loading eBPF programs needs root; see --help"
            );
        }
        Ok(specs)
    }

    fn prepare(&self, lab: &Lab, specs: &[Spec], observer: &dyn Observer) -> Result<Artifacts> {
        let purpose = if specs == [Spec::Host] || self.list { Purpose::Build } else { Purpose::Run };
        setup::ensure(lab, purpose, &self.setup, observer)?;
        build::build(lab, observer)
    }

    /// The tests that are wanted; none is a mistake on the command line.
    fn tests(&self, artifacts: &Artifacts) -> Result<Vec<Test>> {
        let all = run::list(&artifacts.tests).map_err(failed_to)?;
        let known = selection::loaders(&all);
        if let Some(unknown) = self.loaders.iter().find(|loader| !known.contains(loader)) {
            return Err(UsageError(format!(
                "there is no loader {unknown:?}: there are {}",
                known.join(", ")
            ))
            .into());
        }
        let wanted = selection::select(all, &self.filters, &self.loaders);
        if wanted.is_empty() {
            return Err(
                UsageError("no test is left by these filters; --list shows all there are".into()).into()
            );
        }
        Ok(wanted)
    }

    /// The accelerator of the machines; KVM stands for the processor where there is no machine.
    fn settle(
        &self,
        lab: &Lab,
        tools: Option<&Tools>,
        kernels: &[Kernel],
        artifacts: &Artifacts,
        observer: &dyn Observer,
    ) -> Result<Accelerator> {
        let booted = kernels.iter().find(|kernel| kernel.source != Source::Host);
        match (tools, booted) {
            (Some(tools), Some(kernel)) => {
                accelerate::settle(lab, self.accel, tools, kernel, &artifacts.agent, observer)
            }
            _ => Ok(Accelerator::Kvm),
        }
    }

    fn run_all(
        &self,
        lab: &Lab,
        ready: &[Ready],
        artifacts: &Artifacts,
        payload: &[u8],
        tests: &[Test],
        observer: &Fanout<'_>,
    ) {
        let queue: Mutex<VecDeque<&Ready>> = Mutex::new(ready.iter().collect());
        // Fewer kernels than jobs: each gets several machines. The running kernel cannot be had twice.
        let share = usize::from(self.jobs) / ready.len().max(1);
        let stop = AtomicBool::new(false);
        let watch = FailFast { stop: &stop, wanted: self.fail_fast };
        std::thread::scope(|scope| {
            for _ in 0..usize::from(self.jobs).min(ready.len()) {
                scope.spawn(|| {
                    while let Some(ready) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let machines = if ready.composed.is_some() { share.max(1) } else { 1 };
                        let job = self.job(lab, ready, artifacts, payload, tests, machines);
                        run::run(&job, &Fanout(vec![observer, &watch]));
                    }
                });
            }
        });
    }

    fn job<'a>(
        &self,
        lab: &Lab,
        ready: &'a Ready,
        artifacts: &'a Artifacts,
        payload: &'a [u8],
        tests: &[Test],
        machines: usize,
    ) -> Job<'a> {
        let plan = match (&ready.composed, &ready.kernel.source) {
            (Some(composed), Source::Image { modules, .. }) => {
                Plan::Boot { composed, agent: &artifacts.agent, modules }
            }
            _ => Plan::Host { agent: &artifacts.agent },
        };
        Job {
            spec: ready.kernel.spec.clone(),
            plan,
            payload,
            binary: TEST_BINARY.into(),
            tests: tests.iter().filter(|test| !test.ignored).map(|test| test.name.clone()).collect(),
            env: self.environment(),
            collect: Some(WORKSPACE.into()),
            machines,
            timeout: Duration::from_secs(self.timeout),
            boot_timeout: Duration::from_secs(self.boot_timeout),
            log: log_path(lab, &ready.kernel.spec),
            fail_fast: self.fail_fast,
            cancelled: lab.cancelled.clone(),
        }
    }

    /// What insta needs to find its files in the guest (insta's documentation, "Environment variables").
    fn environment(&self) -> Vec<(String, String)> {
        let update = if self.bless { "always" } else { "new" };
        [
            ("INSTA_WORKSPACE_ROOT", format!("{{payload}}/{WORKSPACE}")),
            ("INSTA_UPDATE", update.to_owned()),
            ("RUST_BACKTRACE", "0".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Shows and writes the results, and says how to exit.
    fn conclude(&self, lab: &Lab, summary: &Summary, snapshots: &Snapshots) -> Result<Exit> {
        let failures = table::failures(summary);
        println!("{failures}\n{}", table::table(summary));
        if !failures.is_empty() {
            println!("\nconsoles: {}", log_path(lab, "*").display());
        }
        let stored = snapshots.store(&lab.root)?;
        match (stored, self.bless) {
            (0, _) => {}
            (count, true) => println!("\n{count} snapshots accepted into {SNAPSHOTS}"),
            (count, false) => println!(
                "\n{count} snapshots differ: review them with `cargo insta review`, or accept all with --bless"
            ),
        }
        println!("\n{}", table::verdict(summary));
        if let Some(path) = &self.json {
            json::write(summary, path)?;
        }
        if let Some(path) = &self.junit {
            junit::write(summary, path)?;
        }
        Ok(summary.exit())
    }
}

/// Stops the queue at the first failure, if that is wanted.
struct FailFast<'a> {
    stop: &'a AtomicBool,
    wanted: bool,
}

impl Observer for FailFast<'_> {
    fn notify(&self, event: Event) {
        let failed = match event {
            Event::TestEnded { outcome, .. } => outcome != Outcome::Passed,
            Event::KernelEnded { error, .. } => error.is_some(),
            _ => false,
        };
        if self.wanted && failed {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

fn compose_all(
    lab: &Lab,
    tools: Option<&Tools>,
    kernels: Vec<Kernel>,
    accelerator: Accelerator,
) -> Result<Vec<Ready>> {
    let compose = |kernel: Kernel| {
        let composed = match (&kernel.source, tools) {
            (Source::Image { image, .. }, Some(tools)) => {
                let composed = compose::compose(tools, image, &kernel.id, accelerator, &lab.cache);
                lab.check_interrupt()?;
                Some(composed.map_err(failed_to)?)
            }
            _ => None,
        };
        Ok(Ready { kernel, composed })
    };
    kernels.into_iter().map(compose).collect()
}

fn list(specs: &[Spec], tests: &[Test]) {
    for spec in specs {
        for test in tests {
            let ignored = if test.ignored { " (ignored)" } else { "" };
            println!("{spec} {}{ignored}", Name::parse(&test.name));
        }
    }
}

/// Where a kernel's console is kept. A spec may be a path.
fn log_path(lab: &Lab, spec: &str) -> PathBuf {
    let name = spec
        .replace(|character: char| !character.is_ascii_alphanumeric() && !".-+*".contains(character), "_");
    lab.scratch().join("logs").join(format!("{name}.log"))
}
