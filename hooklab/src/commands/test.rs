//! `hooklab test`: the tests of the package in the current directory, on kernels.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use hooklab_vm::TestId;
use hooklab_vm::binary;
use hooklab_vm::event::{Event, Observer};
use hooklab_vm::payload::{self, Payload};
use hooklab_vm::runner::EnvVar;

use crate::campaign::{RunOptions, Work, conclude};
use crate::cargo::{self, Artifact};
use crate::exit::{BuildFailed, Exit, UsageError};
use crate::extra;
use crate::guest_half::EUNOMIA;
use crate::kernels::{self, failed_to};
use crate::lab::Lab;
use crate::naming::Naming;
use crate::report;
use crate::setup::{self, Purpose};

/// Directory of the payload with the test binaries.
const BINARIES: &str = "tests";

/// Build the tests of the package in the current directory, and run them on kernels
///
/// Unit and integration tests: neither documentation tests nor benchmarks. Each test runs as root, in a process of its own, in a guest that has nothing but the test binary with its libraries,
/// and the lab's loaders in PATH. Without --kernel or --all: one long-term series and the newest one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hooklab test                             the default kernels, every test
  hooklab test -k 5.10 -k 6.12 parse       tests whose name contains `parse`, on these two series
  hooklab test --all --release --junit out.xml
  hooklab test -k lts -p mycrate --features bpf")]
pub struct Test {
    /// Run only tests whose name contains one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// What cargo builds.
    #[command(flatten)]
    cargo: CargoOptions,
    /// Where and how the tests run.
    #[command(flatten)]
    run: RunOptions,
}

/// Options that are passed on to cargo.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cargo")]
pub struct CargoOptions {
    /// Only the tests of this package; may be repeated
    #[arg(short, long, value_name = "SPEC")]
    package: Vec<String>,
    /// The tests of all packages of the workspace
    #[arg(long)]
    workspace: bool,
    /// Only the unit tests of the library
    #[arg(long)]
    lib: bool,
    /// Only this integration test; may be repeated
    #[arg(long, value_name = "NAME")]
    test: Vec<String>,
    /// Build with optimisation
    #[arg(short, long)]
    release: bool,
    /// Features to activate, separated by blanks or commas; may be repeated
    #[arg(short = 'F', long, value_name = "FEATURES")]
    features: Vec<String>,
    /// Activate all features
    #[arg(long)]
    all_features: bool,
    /// Do not activate the default feature
    #[arg(long)]
    no_default_features: bool,
    /// The package's Cargo.toml; without it that of the current directory or of one above
    #[arg(long, value_name = "PATH")]
    manifest_path: Option<PathBuf>,
}

/// A test binary that cargo built.
struct Binary {
    /// The package, and the target if it is not the library: `mine`, `mine::integration`.
    label: String,
    path: PathBuf,
}

impl Test {
    /// Builds, boots kernels, runs tests, reports.
    ///
    /// # Errors
    /// What kept it from doing so.
    pub fn run(&self, lab: &Lab) -> Result<Exit> {
        let begin = Instant::now();
        let kernels = kernels::open(lab, &self.run.kernel_options)?;
        let specs = self.run.specs(&kernels)?;
        self.run.check_reports()?;
        let steps = report::steps();
        if !self.run.list {
            setup::ensure(lab, &[Purpose::Run], &self.run.setup, steps.as_ref())?;
        }
        let binaries = self.build(lab, steps.as_ref())?;
        let tests = self.tests(&binaries)?;
        drop(steps);
        let naming = if binaries.len() > 1 { Naming::OfBinary } else { Naming::Plain };
        if self.run.list {
            for spec in &specs {
                for (test, ignored) in &tests {
                    out!("{spec} {}{}", naming.read(test), if *ignored { " (ignored)" } else { "" });
                }
            }
            return Ok(Exit::Success);
        }
        let live = report::live(true, naming);
        let programs = lab.guest_half.programs(lab, live.as_ref())?;
        let payload = pack(&binaries, &programs.loaders)?;
        let guests = self.run.guests(lab, &kernels, &specs, &programs.agent, live.as_ref())?;
        let work = Work { naming, env: environment(), ..Work::new(payload, tests) };
        let report = self.run.run(lab, &guests, &programs.agent, &work, begin, &[live.as_ref()])?;
        drop(live);
        let written = self.run.write_reports(&report);
        self.run.show(lab, &report);
        let exit = conclude(&report);
        written?;
        Ok(exit)
    }

    /// Has cargo build the test binaries.
    fn build(&self, lab: &Lab, observer: &dyn Observer) -> Result<Vec<Binary>> {
        observer.notify(Event::Step("building the tests".into()));
        let mut command = Command::new(setup::cargo());
        command.args(["test", "--no-run", "--quiet", cargo::MESSAGES]);
        self.cargo.add_to(&mut command);
        let mut built = Vec::new();
        let done = cargo::run(lab, command, |artifact| {
            if !artifact.fresh {
                observer.notify(Event::Step(format!("building the tests: {}", artifact.target.name)));
            }
            if artifact.profile.test && artifact.executable.is_some() {
                built.push(artifact);
            }
        });
        lab.check_interrupt()?;
        done.map_err(|_| BuildFailed)?;
        if built.is_empty() {
            return Err(UsageError("cargo built no tests".into()).into());
        }
        let binaries = built.into_iter().map(Binary::of).collect::<Result<Vec<_>>>()?;
        let mut labels: Vec<&str> = binaries.iter().map(|binary| binary.label.as_str()).collect();
        labels.sort_unstable();
        // One would run in place of the other.
        if let Some(twice) = labels.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("two test binaries are called {}: name one package with -p", twice[0]);
            return Err(UsageError(message).into());
        }
        Ok(binaries)
    }

    /// The tests that are wanted, as the binaries list them; none is a mistake on the command line.
    fn tests(&self, binaries: &[Binary]) -> Result<Vec<(TestId, bool)>> {
        let mut wanted = Vec::new();
        for binary in binaries {
            binary::check(&binary.path).map_err(failed_to)?;
            for test in binary::list(&binary.path).map_err(failed_to)? {
                if self.filters.is_empty() || self.filters.iter().any(|filter| test.name.contains(filter)) {
                    wanted.push((TestId { binary: binary.place(), name: test.name }, test.ignored));
                }
            }
        }
        if wanted.iter().all(|(_, ignored)| *ignored) {
            return Err(UsageError("no test is left to run; --list shows all there are".into()).into());
        }
        Ok(wanted)
    }
}

impl CargoOptions {
    fn add_to(&self, command: &mut Command) {
        let switches = [
            (self.workspace, "--workspace"),
            (self.lib, "--lib"),
            (self.release, "--release"),
            (self.all_features, "--all-features"),
            (self.no_default_features, "--no-default-features"),
        ];
        command.args(switches.iter().filter(|(on, _)| *on).map(|(_, option)| option));
        for (option, values) in
            [("--package", &self.package), ("--test", &self.test), ("--features", &self.features)]
        {
            command.args(values.iter().flat_map(|value| [option, value]));
        }
        if let Some(path) = &self.manifest_path {
            command.arg("--manifest-path").arg(path);
        }
    }
}

impl Binary {
    fn of(artifact: Artifact) -> Result<Self> {
        let package = artifact.package()?;
        let label = match artifact.target.kind.first().map(String::as_str) {
            Some("test") => format!("{package}::{}", artifact.target.name),
            Some(kind @ ("bench" | "bin" | "example")) => {
                format!("{package}::{kind}.{}", artifact.target.name)
            }
            _ => package,
        };
        let path = artifact.executable.context("failed to find a test binary that cargo built")?;
        Ok(Self { label, path })
    }

    /// Where it is in the payload.
    fn place(&self) -> String {
        format!("{BINARIES}/{}", self.label)
    }
}

/// The archive with the test binaries and the loaders that tests may call.
fn pack(binaries: &[Binary], loaders: &[(String, PathBuf)]) -> Result<Payload> {
    let mut archive = payload::Builder::default();
    let mut add = |name: &str, path: &Path| {
        archive.add_program(name, path).with_context(|| format!("failed to pack {}", path.display()))
    };
    for binary in binaries {
        add(&binary.place(), &binary.path)?;
    }
    // Whoever wants eunomia's engine, a third of it all, has it by `hooklab run`.
    for (name, path) in loaders.iter().filter(|(name, _)| name != EUNOMIA) {
        add(&format!("bin/{name}"), path)?;
    }
    let advice = ": build them with --release, or with `strip = true` in the profile, or test fewer at a time (-p, --test)";
    extra::finish(archive, "the test binaries and their libraries", advice)
}

/// What the tests find in their environment.
fn environment() -> Vec<EnvVar> {
    let variables = ["RUST_BACKTRACE", "RUST_LOG"];
    variables.into_iter().filter_map(|name| Some(EnvVar::text(name, std::env::var(name).ok()?))).collect()
}
