//! The report of a run: what `--json` writes and `report merge` reads.
//!
//! Later versions may add fields; they rename none. `docs/report.schema.json` is generated from these types.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::explain::{Explained, ObjectDetails};
use crate::kernel::{Accelerator, Features, Start};
use crate::loader::{Cost, LoaderKind};
use crate::test::{Attempt, Outcome};

/// Version of the report's form; a report with another one is of another hooklab.
pub const SCHEMA: u32 = 2;

/// All results of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Report {
    /// Version of the report's form: 2.
    pub schema: u32,
    /// Which part of the kernels the run covered (`I/N`), if not all; null in a merged report.
    #[serde(default)]
    pub shard: Option<Shard>,
    /// What the guests ran with; also `kvm` where there was no VM (`-k host`).
    pub accelerator: Accelerator,
    /// Seconds from the start of the command to the results.
    pub wall_seconds: f64,
    /// In the order in which they were requested.
    pub kernels: Vec<Kernel>,
}

impl Report {
    /// The results of a whole run.
    pub fn new(accelerator: Accelerator, wall_seconds: f64, kernels: Vec<Kernel>) -> Self {
        Self { schema: SCHEMA, shard: None, accelerator, wall_seconds, kernels }
    }

    /// Cells of all kernels with such an outcome.
    pub fn count(&self, wanted: impl Fn(Outcome) -> bool) -> usize {
        self.kernels.iter().flat_map(|kernel| &kernel.tests).filter(|cell| wanted(cell.outcome)).count()
    }
}

/// One kernel's results.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Kernel {
    /// The kernel as requested; words and ranges give one entry for each kernel that they select.
    pub spec: String,
    /// What `uname -r` prints in the guest; null if no guest came up.
    pub release: Option<String>,
    /// The architecture, as `uname -m` prints it.
    pub arch: String,
    /// What was put at the end of its command line (`--append`); absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append: Option<String>,
    /// The kernel's features, as the guest probed them; null if no guest came up.
    #[serde(default)]
    pub features: Option<Features>,
    /// How its machines came to run: `boot` if any of them booted.
    pub start: Option<Start>,
    /// How it did.
    pub outcome: KernelOutcome,
    /// Why the lab could not do its job on it, if the outcome is `error`.
    pub error: Option<String>,
    /// Seconds from the start of QEMU until the agent was ready; of several machines the longest.
    pub boot_seconds: f64,
    /// Seconds from the start of the work on it to its end.
    pub wall_seconds: f64,
    /// Machines that were started for it: more than one where several shared its tests, or a guest died.
    pub starts: u32,
    /// Tests that did not run, since a failure ended the run (`--fail-fast`).
    pub not_run: usize,
    /// Its tests, in the order of their binaries.
    pub tests: Vec<Cell>,
}

impl Kernel {
    /// Before anything is known of it.
    pub fn unknown(spec: &str) -> Self {
        Self {
            spec: spec.to_owned(),
            release: None,
            arch: std::env::consts::ARCH.to_owned(),
            append: None,
            features: None,
            start: None,
            outcome: KernelOutcome::Error,
            error: None,
            boot_seconds: 0.0,
            wall_seconds: 0.0,
            starts: 0,
            not_run: 0,
            tests: Vec::new(),
        }
    }

    /// Whether it has tests, and lacks what every one of them needs.
    pub fn supports_none(&self) -> bool {
        let mut run = self.tests.iter().filter(|cell| cell.outcome != Outcome::Ignored).peekable();
        run.peek().is_some() && run.all(|cell| cell.outcome == Outcome::Unsupported)
    }

    /// Tests that passed, but not at once.
    pub fn flaky(&self) -> usize {
        self.tests.iter().filter(|cell| cell.outcome == Outcome::Flaky).count()
    }
}

/// How a kernel did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum KernelOutcome {
    /// Every test passed, was ignored, or needs a feature that the kernel lacks.
    Passed,
    /// A test did not pass.
    Failed,
    /// The lab could not do its job on it.
    Error,
}

/// One test on one kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cell {
    /// The binary that has the test, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
    /// The name of the test, without its loader and program.
    pub name: String,
    /// The loader, if the test belongs to one.
    pub loader: Option<String>,
    /// The program, likewise.
    pub program: Option<String>,
    /// How it went.
    pub outcome: Outcome,
    /// Seconds from the start of its process to its end.
    pub seconds: f64,
    /// Its output, or why the guest crashed, or what the kernel lacks; null if it passed.
    pub message: Option<String>,
    /// Programs that it loaded, as far as it reports them.
    #[serde(default)]
    pub loads: Vec<Load>,
    /// By `explain`: what is known of the object beside its programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectDetails>,
    /// With `--retries`: its earlier runs, which did not pass; absent if it ran once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Attempt>,
}

impl Cell {
    /// A test of which no more is known.
    pub fn new(name: &str, outcome: Outcome) -> Self {
        Self {
            binary: None,
            name: name.to_owned(),
            loader: None,
            program: None,
            outcome,
            seconds: 0.0,
            message: None,
            loads: Vec::new(),
            object: None,
            earlier: Vec::new(),
        }
    }
}

/// A program that a test loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Load {
    /// What loaded it.
    pub loader: LoaderKind,
    /// The object it is from.
    pub object: String,
    /// The function.
    pub program: String,
    /// What it cost.
    #[serde(flatten)]
    pub cost: Cost,
    /// By `explain`: how it went.
    #[serde(flatten)]
    pub explained: Option<Explained>,
}

/// The `index`-th of `of` parts of the kernels, counted from 1; written `I/N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(with = "String"))]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    /// Which one, from 1.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

/// What is no shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give two numbers, I/N, with I from 1 to N")]
pub struct NoShard;

impl FromStr for Shard {
    type Err = NoShard;

    fn from_str(text: &str) -> Result<Self, NoShard> {
        let numbers =
            text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            _ => Err(NoShard),
        }
    }
}

impl TryFrom<String> for Shard {
    type Error = NoShard;

    fn try_from(text: String) -> Result<Self, NoShard> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// The JSON schema of a [`Report`].
#[cfg(feature = "schema")]
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_part_of_a_whole_is_a_shard() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, of: 3 }));
        for wrong in ["0/3", "4/3", "1", "1/", "a/b", "-1/2", "1/0"] {
            assert_eq!(wrong.parse::<Shard>(), Err(NoShard), "{wrong}");
        }
    }
}
