//! `cargo xtask soak`: the matrix, round after round, with random fault injection; each verdict must be the right one,
//! and nothing may pile up.

mod fault;
mod gauge;
mod round;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Args;
use fastrand::Rng;
use hooklab::exit::Exit;
use hooklab::kernels::{self, failed_to};
use hooklab::lab::Lab;
use hooklab::options::{KernelOptions, SetupOptions};
use hooklab::report::{self, merge};
use hooklab::setup::{self, Purpose};
use hooklab::{err, out};

use self::fault::Fault;
use self::gauge::Gauge;
use self::round::Round;
use crate::build;
use crate::checkout::Checkout;
use crate::programs::ProgramOptions;

/// Room for saved machines, in MiB: less than the matrix needs, so that some have to go.
const SAVED_MIB: u64 = 512;

/// How long what a run has started may outlive it.
const GONE: Duration = Duration::from_secs(2);

/// Directorys of the rounds: a cache that has the user's kernels and tools, but machines of its own.
struct Place {
    directory: PathBuf,
}

/// Run tests over and over with random fault injection
#[derive(Debug, Args)]
#[command(after_help = "\
Each round runs some tests on some kernels. In half of the rounds something goes wrong: QEMU is killed or stopped, the run is interrupted or killed, a saved machine is damaged. A wrong verdict, and whatever a round leaves behind, is told and ends in exit code 1.

Examples:
  An hour:               cargo xtask soak --minutes 60
  The same rounds again:  cargo xtask soak --seed 1795371720")]
pub(crate) struct Soak {
    /// How long to go on
    #[arg(short, long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) minutes: u64,
    /// What chance begins with [default: the time]
    #[arg(short, long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) programs: ProgramOptions,
    #[command(flatten)]
    pub(crate) kernel_options: KernelOptions,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
}

impl Soak {
    /// Runs rounds until time is up; wrong verdicts and leftovers are told at once, and fail the command.
    pub(crate) fn run(&self, checkout: &Checkout, lab: &Lab) -> Result<Exit> {
        let live = report::steps();
        setup::ensure(lab, &[Purpose::Compile, Purpose::Run], &self.setup, live.as_ref())?;
        let programs = self.programs.ready(lab, &self.setup, live.as_ref())?;
        build::build(checkout, lab, &programs, live.as_ref())?;
        let kernels = kernels::open(lab, &self.kernel_options)?;
        for kernel in kernels.obtain_all(&kernels.all(), live.as_ref()) {
            kernel.map_err(failed_to)?;
        }
        drop(live);

        let seed = self.seed.unwrap_or_else(from_the_clock);
        out!("seed {seed}; the same one draws the same rounds, but not the same moments");
        let place = Place::new(lab)?;
        let mut random = Rng::with_seed(seed);
        let specs: Vec<String> = kernels.all().iter().map(ToString::to_string).collect();
        let (end, mut number, mut wrong) = (Instant::now() + Duration::from_secs(60 * self.minutes), 0, 0);
        let mut peaks = Gauge::default();
        while Instant::now() < end {
            number += 1;
            let round = Round::draw(&mut random, &specs);
            err!("round {number}: {round}");
            let begin = Instant::now();
            let (outcome, gauge) = place.run(&round, &mut random)?;
            lab.check_interrupt()?;
            let took = begin.elapsed().as_secs_f64();
            let (verdict, faults) = match &outcome {
                Ok(said) => (said.as_str(), 0),
                Err(why) => (why.as_str(), 1),
            };
            wrong += faults;
            let sign = if faults == 0 { "ok   " } else { "WRONG" };
            out!("{sign} {number:>4} {took:>6.1} s  {gauge}  {round}: {verdict}");
            peaks.raise_to(&gauge);
        }
        out!("\n{number} rounds, {wrong} wrong; at most {peaks}");
        Ok(if wrong == 0 { Exit::Success } else { Exit::TestsFailed })
    }
}

fn from_the_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Place {
    fn new(lab: &Lab) -> Result<Self> {
        let place = Self { directory: lab.work.join("soak") };
        if place.directory.exists() {
            fs::remove_dir_all(&place.directory).context("failed to remove what an earlier soak left")?;
        }
        for directory in [place.temporary(), place.cache()] {
            fs::create_dir_all(&directory)
                .with_context(|| format!("failed to make {}", directory.display()))?;
        }
        for entry in fs::read_dir(&lab.cache).context("failed to read the cache")?.flatten() {
            if entry.file_name() != "machines" {
                symlink(entry.path(), place.cache().join(entry.file_name()))?;
            }
        }
        Ok(place)
    }

    fn temporary(&self) -> PathBuf {
        self.directory.join("tmp")
    }

    fn cache(&self) -> PathBuf {
        self.directory.join("cache")
    }

    fn machines(&self) -> PathBuf {
        self.cache().join("machines")
    }

    fn report(&self) -> PathBuf {
        self.directory.join("report.json")
    }

    /// Runs a round; says what came of it, as it should have, or what is wrong.
    fn run(&self, round: &Round, random: &mut Rng) -> Result<(Result<String, String>, Gauge)> {
        round.fault.before(&self.machines(), random)?;
        let _ = fs::remove_file(self.report());
        let mut child = self.start(round)?;
        let (mut gauge, begin) = (Gauge::default(), Instant::now());
        let mut caused = !round.fault.comes_later();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            gauge.look_at(child.id());
            if !caused && begin.elapsed() >= round.after {
                caused = round.fault.cause(child.id(), random);
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let left = self.left(matches!(round.fault, Fault::Kill));
        let report = merge::read(&self.report());
        let verdict = round.verdict(caused, status.code(), report.ok().as_ref());
        let said = verdict.and_then(|said| left.map_or(Ok(said), Err));
        Ok((said, gauge))
    }

    fn start(&self, round: &Round) -> Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["vm-test", "--offline"]).args(&round.words).arg("--json").arg(self.report());
        command.env("TMPDIR", self.temporary()).env("HOOKLAB_CACHE", self.cache());
        // The same tests on every machine: a seed gives the same rounds again.
        command.env("HOOKLAB_SAVED_MIB", SAVED_MIB.to_string()).env("HOOKLAB_ECLI", "none");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().context("failed to start vm-test")
    }

    /// A run's leftovers. One that was `killed` may leave a half-made machine: the next one clears it away.
    fn left(&self, killed: bool) -> Option<String> {
        let deadline = Instant::now() + GONE;
        while let Some(process) = gauge::with_temporary_directory(&self.temporary()) {
            if Instant::now() > deadline {
                return Some(format!("it left a process: {process}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let names = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten();
        if let Some(file) = names(&self.temporary()).next() {
            return Some(format!("it left {}", file.path().display()));
        }
        let half_made = |name: &str| name.starts_with(".work-");
        let work = names(&self.machines()).find(|entry| half_made(&entry.file_name().to_string_lossy()));
        if let Some(work) = work.filter(|_| !killed) {
            return Some(format!("it left {}", work.path().display()));
        }
        let kept = gauge::bytes_in(&self.machines()) >> 20;
        // What a run uses is not removed, and it uses at most four machines.
        (kept > SAVED_MIB + 4 * 100).then(|| format!("saved machines take {kept} MiB"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
