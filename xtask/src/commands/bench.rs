//! `cargo xtask bench`: the lab against plain virtme-ng, alternating, as ratios of medians.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hooklab_vm::compose::MEMORY_MIB;
use hooklab_vm::kernel::Source;
use serde::Deserialize;

use super::shell::virtme;
use super::{accelerate, failed_to, open_kernels};
use crate::cli::Bench;
use crate::exit::{Exit, UsageError};
use crate::lab::Lab;
use crate::setup::{self, Purpose};
use crate::{build, report};

/// What of the JSON report is needed here.
#[derive(Deserialize)]
struct Report {
    kernels: Vec<Kernel>,
}

#[derive(Deserialize)]
struct Kernel {
    boot_seconds: f64,
    wall_seconds: f64,
    tests: Vec<serde_json::Value>,
}

/// One round of measurements, in seconds.
struct Round {
    virtme: f64,
    lab: f64,
    boot: f64,
    machine: f64,
    cells: usize,
}

impl Bench {
    /// Measures, and prints medians and ratios.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Exit> {
        let live = report::live(false);
        let observer = live.as_ref();
        setup::ensure(lab, Purpose::Shell, &self.setup, observer)?;
        let kernel = open_kernels(lab, &self.kernel_options)?.obtain(&self.kernel, observer);
        let kernel = kernel.map_err(failed_to)?;
        let Source::Image { image, .. } = &kernel.source else {
            return Err(
                UsageError("plain virtme-ng boots a kernel: name another one than host".into()).into()
            );
        };
        let tools = setup::tools(lab)?;
        let agent = build::build(lab, observer)?.agent;
        let choice = hooklab_vm::accel::Choice::Auto;
        let accelerator = accelerate::settle(lab, choice, &tools, &kernel, &agent, observer)?;
        drop(live);
        // Warms what both sides keep: page cache, composed machine, binaries.
        self.vm_test(lab)?;
        let mut rounds = Vec::new();
        for number in 1..=self.runs {
            let plain = || virtme(lab, &tools, image, accelerator);
            let virtme = timed(lab, plain().args(["--exec", "true"]))?.as_secs_f64();
            let round = self.round(lab, virtme)?;
            out!("round {number}: virtme-ng {:.2} s, vm-test {:.2} s", round.virtme, round.lab);
            rounds.push(round);
        }
        out!("\n{} under {accelerator}, medians of {}:", kernel.release, self.runs);
        print(&rounds);
        Ok(Exit::Success)
    }

    fn round(&self, lab: &Lab, virtme: f64) -> Result<Round> {
        let (took, kernel) = self.vm_test(lab)?;
        Ok(Round {
            virtme,
            lab: took.as_secs_f64(),
            boot: kernel.boot_seconds,
            machine: kernel.wall_seconds,
            cells: kernel.tests.len(),
        })
    }

    /// The whole of `vm-test`, as a process of its own.
    fn vm_test(&self, lab: &Lab) -> Result<(Duration, Kernel)> {
        let file = tempfile::NamedTempFile::new()?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["vm-test", "--offline", "--kernel", &self.kernel.to_string(), "--json"])
            .arg(file.path());
        let took = timed(lab, &mut command)?;
        let report: Report = serde_json::from_slice(&std::fs::read(file.path())?)?;
        let kernel = report.kernels.into_iter().next().context("failed to find a kernel in the report")?;
        Ok((took, kernel))
    }
}

fn timed(lab: &Lab, command: &mut Command) -> Result<Duration> {
    let begin = Instant::now();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("failed to run {command:?}"))?;
    let took = begin.elapsed();
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
    let cells = rounds.first().map_or(0, |round| round.cells);
    let line = |what: &str, seconds: f64| out!("{what:<42} {seconds:>7.2} s {:>7.3}", seconds / virtme);
    out!("{:<42} {:>9} {:>7}", "", "", "ratio");
    line("vng --exec true", virtme);
    line(&format!("vm-test, {cells} cells, everything built"), median(rounds, |round| round.lab));
    line("  start of QEMU to the hello", median(rounds, |round| round.boot));
    line("  hello to the end", median(rounds, |round| round.machine - round.boot));
    line("  outside the machine", median(rounds, |round| round.lab - round.machine));
    line("  each cell", median(rounds, |round| (round.machine - round.boot) / round.cells.max(1) as f64));
    out!("memory of a guest: {MEMORY_MIB} MiB");
}
