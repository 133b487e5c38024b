//! The loaders, and what `hooklab-loader` says on standard output: one line of JSON.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A loader: what brings programs into the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LoaderKind {
    /// The crate `aya`.
    Aya,
    /// The C library libbpf, through the crate `libbpf-rs`.
    Libbpf,
    /// eunomia-bpf's engine, the crate `bpf-loader-lib`.
    Eunomia,
    /// eunomia-bpf's own program `ecli`, run as a process.
    Ecli,
}

impl LoaderKind {
    /// All loaders, in the order in which help texts and tables list them.
    pub const ALL: [Self; 4] = [Self::Aya, Self::Libbpf, Self::Eunomia, Self::Ecli];

    /// The name, as `--loader` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aya => "aya",
            Self::Libbpf => "libbpf",
            Self::Eunomia => "eunomia",
            Self::Ecli => "ecli",
        }
    }

    /// Whether it takes packages and nothing else. Such a loader has a flag for each variable of a package, and is in the
    /// binary `hooklab-loader-eunomia` beside `hooklab-loader`.
    pub const fn takes_packages(self) -> bool {
        matches!(self, Self::Eunomia | Self::Ecli)
    }

    /// Whether it never calls write(2) while programs are attached.
    pub const fn is_silent(self) -> bool {
        !matches!(self, Self::Ecli)
    }

    /// The flag that sets the global `pid_filter` with this loader.
    pub const fn filter_flag(self) -> &'static str {
        // The flags of a package are named after its variables.
        if self.takes_packages() { "--pid_filter" } else { "--pid-filter" }
    }
}

impl fmt::Display for LoaderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no loader has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no loader `{0}`: there is {names}", names = LoaderKind::ALL.map(LoaderKind::name).join(", "))]
pub struct UnknownLoader(pub String);

impl FromStr for LoaderKind {
    type Err = UnknownLoader;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == text);
        kind.ok_or_else(|| UnknownLoader(text.to_owned()))
    }
}

/// The programs are live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// What happened.
    pub event: Event,
    /// Who loaded.
    pub loader: LoaderKind,
    /// The object's path, as the command line names it.
    pub object: String,
    /// The programs, in the object's order.
    pub programs: Vec<Program>,
}

/// What a line tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// All programs are attached.
    Attached,
}

/// A program that is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The function.
    pub name: String,
    /// Its attach point: `CATEGORY/NAME` of a tracepoint.
    pub attach: String,
    /// The kernel's id of the program, as `bpftool prog` shows it.
    pub id: u32,
    /// What it cost.
    #[serde(flatten)]
    pub cost: Cost,
}

/// What a loaded program cost the verifier, and what the kernel made of it, where the kernel tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cost {
    /// Instructions that the verifier processed, on all paths; told since 5.16.
    pub verified_instructions: Option<u32>,
    /// The most states that the verifier kept at a time; known to `explain` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_states: Option<u32>,
    /// Bytes of stack of the program and its subprograms; known to `explain` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack_depth: Option<u32>,
    /// Bytes of machine code; none where the program is interpreted.
    pub jited_bytes: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_s_name_is_the_same_in_json_and_on_the_command_line() {
        for kind in LoaderKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("{:?}", kind.name()));
        }
        let error = "x".parse::<LoaderKind>().unwrap_err().to_string();
        assert_eq!(error, "there is no loader `x`: there is aya, libbpf, eunomia, ecli");
    }

    #[test]
    fn a_line_keeps_its_form() {
        let line = r#"{"event":"attached","loader":"aya","object":"a.bpf.o","programs":[{"name":"f","attach":"x/y","id":7,"verified_instructions":null,"jited_bytes":60}]}"#;
        let attached: Attached = serde_json::from_str(line).unwrap();
        assert_eq!(attached.programs[0].cost.jited_bytes, Some(60));
        assert_eq!(serde_json::to_string(&attached).unwrap(), line);
        assert!(serde_json::from_str::<Attached>(&line.replace("attached", "detached")).is_err());
    }
}
