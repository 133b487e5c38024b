//! A round: what is run, what goes wrong, and what must come of it.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use hooklab_vm::event::Outcome;

use super::fault::Fault;
use hooklab::naming::Name;
use hooklab_types::report::{KernelOutcome, Report};

/// Tests to choose from: all, some, one.
const FILTERS: [&str; 4] = ["", "filter::", "programs::", "filter::one_pid [libbpf minimal-c]"];

/// Most kernels of a round.
const KERNELS: usize = 4;

/// Longest time before a fault comes, in milliseconds: rounds with few tests take a second or two, others more.
const LATEST_MS: [u64; 2] = [1500, 6000];

/// What chance has drawn.
#[derive(Debug)]
pub(super) struct Round {
    /// For `vm-test`.
    pub(super) words: Vec<String>,
    pub(super) fault: Fault,
    /// From the start to the fault, at least.
    pub(super) after: Duration,
}

impl Round {
    pub(super) fn draw(random: &mut Rng, specs: &[String]) -> Self {
        let mut words = Vec::new();
        let count = random.usize(1..=KERNELS.min(specs.len()));
        for spec in random.choose_multiple(specs.iter(), count) {
            words.extend(["-k".to_owned(), spec.clone()]);
        }
        words.extend(["-j".to_owned(), random.u8(1..=3).to_string()]);
        let filter = FILTERS[random.usize(..FILTERS.len())];
        if !filter.is_empty() {
            words.push(filter.to_owned());
        }
        let few = filter.len() > "filter::".len();
        // A machine for each of more tests takes minutes.
        if few && random.bool() {
            words.push("--isolate".into());
        }
        if random.u8(..8) == 0 {
            words.push("--fresh".into());
        }
        let after = Duration::from_millis(random.u64(..LATEST_MS[usize::from(!few)]));
        Self { words, fault: Fault::draw(random), after }
    }

    /// Says whether this is how it should have ended, if the fault was `caused`.
    pub(super) fn verdict(
        &self,
        caused: bool,
        code: Option<i32>,
        report: Option<&Report>,
    ) -> Result<String, String> {
        match self.fault {
            Fault::Kill if caused => expect(code.is_none(), "killed", code),
            Fault::Interrupt if caused && code == Some(130) => Ok("interrupted".into()),
            // It had all but ended.
            Fault::Interrupt if caused => self.verdicts(code, report, None),
            Fault::KillMachine if caused => self.verdicts(code, report, Some(Outcome::Crashed)),
            Fault::StopMachine if caused => self.verdicts(code, report, Some(Outcome::TimedOut)),
            _ => self.verdicts(code, report, None),
        }
    }

    /// All tests passed, but for one at most, which ended in this way.
    fn verdicts(
        &self,
        code: Option<i32>,
        report: Option<&Report>,
        one: Option<Outcome>,
    ) -> Result<String, String> {
        let report = report.ok_or_else(|| format!("no report, exit code {code:?}"))?;
        if let Some(kernel) = report.kernels.iter().find(|kernel| kernel.outcome == KernelOutcome::Error) {
            let error = kernel.error.clone().unwrap_or_default();
            // One that is stopped while it boots has no test to blame.
            let stopped = one == Some(Outcome::TimedOut) && error.starts_with("the guest reported nothing");
            return match stopped && code == Some(3) {
                true => Ok(format!("{} did not come up", kernel.spec)),
                false => Err(format!("{}: {error}", kernel.spec)),
            };
        }
        let cells = report.kernels.iter().flat_map(|kernel| &kernel.tests);
        let others: Vec<_> = cells.clone().filter(|cell| cell.outcome != Outcome::Passed).collect();
        let right = match others[..] {
            [] => code == Some(0),
            [other] => one == Some(other.outcome) && code == Some(1),
            _ => false,
        };
        let said: Vec<String> =
            others.iter().map(|cell| format!("{} {:?}", Name::from(*cell), cell.outcome)).collect();
        let said = format!(
            "{} cells, {}",
            cells.count(),
            if said.is_empty() { "all passed".into() } else { said.join(", ") }
        );
        if right { Ok(said) } else { Err(format!("exit code {code:?}, {said}")) }
    }
}

fn expect(holds: bool, said: &str, code: Option<i32>) -> Result<String, String> {
    if holds { Ok(said.into()) } else { Err(format!("exit code {code:?}")) }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.words.join(" "))?;
        match self.fault.comes_later() {
            true => write!(f, " ({:?} after {:.1?})", self.fault, self.after),
            false => write!(f, " ({:?})", self.fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_rounds() {
        let specs = ["5.10", "6.12", "7.3"].map(str::to_owned);
        let draw = |seed| {
            let mut random = Rng::with_seed(seed);
            (0..20).map(|_| Round::draw(&mut random, &specs).to_string()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
