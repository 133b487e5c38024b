//! `cargo xtask bench`: the lab against plain virtme-ng, alternating, as ratios of medians.

use std::fmt::{self, Display, Formatter};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use hooklab::commands::virtme;
use hooklab::exit::{Exit, UsageError};
use hooklab::kernels::{self, failed_to};
use hooklab::lab::Lab;
use hooklab::options::{KernelOptions, SetupOptions};
use hooklab::setup::{self, Purpose};
use hooklab::{guests, out, report, values};
use hooklab_vm::kernel::{Source, Spec};
use hooklab_vm::qemu::command_line::MEMORY_MIB;
use serde::Deserialize;

/// One test of one loader: what a kernel costs before any is added.
const ONE_TEST: &str = "filter::one_pid [libbpf minimal-c]";

/// Those of one program, about twenty.
const SOME_TESTS: &str = "minimal-c";

/// Rounds that may fail: an emulator that breaks a guest once in hundreds is no reason to lose what was measured.
const SPARE: u32 = 2;

/// What of the JSON report is needed here.
#[derive(Deserialize)]
struct Report {
    kernels: Vec<Kernel>,
}

#[derive(Deserialize)]
struct Kernel {
    boot_seconds: f64,
    tests: Vec<serde_json::Value>,
}

/// One run of `vm-test`: how long it took, and what of that on its machines.
struct Run {
    seconds: f64,
    /// The longest time until a machine's agent was ready.
    ready: f64,
    cells: usize,
    kernels: usize,
}

/// One round of measurements, in seconds.
struct Round {
    virtme: f64,
    /// Some tests on one kernel.
    some: Run,
    /// All tests on one kernel.
    one_kernel: Run,
    /// Some tests, each on a machine of its own.
    isolated: Run,
    /// One test on each kernel.
    one_test: Run,
    /// All tests on each kernel.
    all: Run,
    /// The same, without a look at the kernel after each test.
    unchecked: Run,
}

/// Measure the lab against plain virtme-ng, as ratios within one run
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// The kernel to measure with
    #[arg(short, long, value_name = "SPEC", default_value = "6.12", value_parser = values::spec)]
    pub(crate) kernel: Spec,
    /// How often each is run, alternating; medians are reported
    #[arg(short, long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) runs: u16,
    #[command(flatten)]
    pub(crate) kernel_options: KernelOptions,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
}

impl Bench {
    /// Measures, and prints medians and ratios.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Exit> {
        let live = report::steps();
        let observer = live.as_ref();
        setup::ensure(lab, &[Purpose::Compile, Purpose::Shell], &self.setup, observer)?;
        let kernel = kernels::open(lab, &self.kernel_options)?.obtain(&self.kernel, observer);
        let kernel = kernel.map_err(failed_to)?;
        let Source::Image { image, .. } = &kernel.source else {
            return Err(
                UsageError("plain virtme-ng boots a kernel: name another one than host".into()).into()
            );
        };
        let tools = setup::tools(lab)?;
        let agent = lab.guest_half.programs(lab, observer)?.agent;
        let choice = hooklab_vm::qemu::accelerator::Choice::Auto;
        let accelerator = guests::settle(lab, choice, &tools, &kernel, &agent, observer)?;
        drop(live);
        // Warms what both sides keep: page cache, QEMU command lines, saved machines, binaries.
        self.round(lab, 0.0)?;
        let plain = || timed(lab, virtme(lab, &tools, image, accelerator).args(["--exec", "true"]));
        let rounds = self.rounds(lab, plain)?;
        out!("\n{} under {accelerator}, medians of {}:", kernel.release, self.runs);
        print(&rounds);
        Ok(Exit::Success)
    }

    fn rounds(&self, lab: &Lab, plain: impl Fn() -> Result<f64>) -> Result<Vec<Round>> {
        let (mut rounds, mut spare) = (Vec::new(), SPARE);
        while rounds.len() < usize::from(self.runs) {
            match plain().and_then(|virtme| self.round(lab, virtme)) {
                Ok(round) => {
                    out!("round {}: {round}", rounds.len() + 1);
                    rounds.push(round);
                }
                Err(error) if spare > 0 && lab.check_interrupt().is_ok() => {
                    spare -= 1;
                    out!("round {} failed and is run again: {error:#}", rounds.len() + 1);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(rounds)
    }

    fn round(&self, lab: &Lab, virtme: f64) -> Result<Round> {
        let kernel = self.kernel.to_string();
        let of_one = ["--kernel", &kernel];
        Ok(Round {
            virtme,
            some: vm_test(lab, &[&of_one[..], &[SOME_TESTS]].concat())?,
            one_kernel: vm_test(lab, &of_one)?,
            isolated: vm_test(lab, &[&of_one[..], &["--isolate", SOME_TESTS]].concat())?,
            one_test: vm_test(lab, &["--all", ONE_TEST])?,
            all: vm_test(lab, &["--all"])?,
            unchecked: vm_test(lab, &["--all", "--no-checks"])?,
        })
    }
}

/// The whole of `vm-test`, as a process of its own.
fn vm_test(lab: &Lab, words: &[&str]) -> Result<Run> {
    let file = tempfile::NamedTempFile::new()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["vm-test", "--offline", "--ecli", "none"]).args(words).arg("--json").arg(file.path());
    let seconds = timed(lab, &mut command)?;
    let report: Report = serde_json::from_slice(&std::fs::read(file.path())?)?;
    Ok(Run {
        seconds,
        ready: report.kernels.iter().map(|kernel| kernel.boot_seconds).fold(0.0, f64::max),
        cells: report.kernels.iter().map(|kernel| kernel.tests.len()).sum(),
        kernels: report.kernels.len(),
    })
}

/// Runs a command that must succeed; how long it took, in seconds.
fn timed(lab: &Lab, command: &mut Command) -> Result<f64> {
    let begin = Instant::now();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("failed to run {command:?}"))?;
    let took = begin.elapsed().as_secs_f64();
    lab.check_interrupt()?;
    if !output.status.success() {
        let said =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("");
        let lines: Vec<&str> = said.lines().collect();
        bail!("{command:?} failed:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
    }
    Ok(took)
}

fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn print(rounds: &[Round]) {
    let virtme = median(rounds, |round| round.virtme);
    let line = |what: &str, seconds: f64| out!("{what:<50} {seconds:>8.3} s {:>7.4}", seconds / virtme);
    let Some(first) = rounds.first() else { return };
    out!("{:<50} {:>10} {:>7}", "", "", "ratio");
    line("vng --exec true", virtme);
    let cells = |run: &Run| format!("vm-test, {} cells", run.cells);
    line(&cells(&first.some), median(rounds, |round| round.some.seconds));
    line(&cells(&first.one_kernel), median(rounds, |round| round.one_kernel.seconds));
    line("  start of QEMU until ready", median(rounds, |round| round.one_kernel.ready));
    line("vm-test --isolate, each cell", median(rounds, |round| round.isolated.each()));
    let kernels = first.one_test.kernels;
    line(
        &format!("vm-test --all, one test on each of {kernels}"),
        median(rounds, |round| round.one_test.seconds),
    );
    line(&format!("vm-test --all, {} cells", first.all.cells), median(rounds, |round| round.all.seconds));
    line("  each further cell", median(rounds, Round::further_cell));
    line("  each cell", median(rounds, |round| round.all.each()));
    let share = median(rounds, |round| 1.0 - round.unchecked.seconds / round.all.seconds);
    out!("looking at the kernel after each test: {:.1} % of that", 100.0 * share);
    out!("memory of a guest: {MEMORY_MIB} MiB");
}

impl Run {
    /// Seconds for each cell, of the whole.
    fn each(&self) -> f64 {
        self.seconds / self.cells.max(1) as f64
    }
}

impl Round {
    /// What one more cell costs, once there is one for each kernel.
    fn further_cell(&self) -> f64 {
        let added = self.all.cells.saturating_sub(self.one_test.cells).max(1);
        (self.all.seconds - self.one_test.seconds) / added as f64
    }
}

impl Display for Round {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let Self { virtme, some, one_kernel, isolated, one_test, all, unchecked } = self;
        write!(to, "virtme-ng {virtme:.2} s, {} cells {:.2} s", some.cells, some.seconds)?;
        write!(to, ", isolated {:.2} s, one kernel {:.2} s", isolated.seconds, one_kernel.seconds)?;
        write!(to, ", one test on each kernel {:.2} s, all {:.2} s", one_test.seconds, all.seconds)?;
        write!(to, ", without checks {:.2} s", unchecked.seconds)
    }
}
