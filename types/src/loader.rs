//! The loaders, and what `hooklab-loader` says on standard output: lines, of which the first is JSON.

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

/// A line on standard output of `hooklab-loader run`: the first is always [`Attached`], what follows it depends on the
/// options. With `--format text`, only `Attached` is JSON and the rest is [displayed](fmt::Display).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Line {
    /// Programs are attached.
    Attached(Attached),
    /// A program sent a record through a ring buffer or a perf event array.
    Record(Record),
    /// Records were lost, since the buffer was full.
    Lost(Lost),
    /// The contents of a map at the end of the run.
    Map(MapContents),
    /// A line of `trace_pipe`.
    Trace(TraceLine),
    /// A line that a program for an iterator printed.
    Iterator(IteratorLine),
}

/// The programs that are attached, and those that are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Who loaded.
    pub loader: LoaderKind,
    /// The object's path, as the command line names it.
    pub object: String,
    /// The attached programs, in the object's order.
    pub programs: Vec<Program>,
    /// The others, in the object's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_attached: Vec<NotAttached>,
}

/// A program that is not attached, while others of its object are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotAttached {
    /// The function, or the map of a `struct_ops`.
    pub name: String,
    /// Its section.
    pub section: String,
    /// Why, in one sentence or in the loader's words.
    pub reason: String,
}

/// What a program sent through a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The map.
    pub map: String,
    /// The type that the record was decoded as, such as `event`; `None` if none fits.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// The value as libbpf prints it, such as `{.pid = (int)7,.comm = (char[16])"cat"}`, or hexadecimal digits if no type
    /// fits.
    pub value: String,
    /// The size of the record in bytes.
    pub bytes: u64,
}

/// Records that were lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The map.
    pub map: String,
    /// How many.
    pub count: u64,
}

/// The contents of a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapContents {
    /// The map.
    pub map: String,
    /// The entries that are shown.
    pub entries: Vec<MapEntry>,
    /// Whether there are more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// An entry of a map, in the form of [`Record::value`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapEntry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// A line of `trace_pipe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceLine {
    /// The line, without its line feed.
    pub line: String,
}

/// A line of an iterator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IteratorLine {
    /// The program.
    pub program: String,
    /// The line, without its line feed.
    pub line: String,
}

impl fmt::Display for Line {
    /// The text form: one line for each event, without its line feed; a map has one for each entry.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached(Attached { loader, object, .. }) => write!(f, "{object} is attached by {loader}"),
            Self::Record(Record { map, type_name: Some(name), value, .. }) => {
                write!(f, "{map}: {name} {value}")
            }
            Self::Record(Record { map, value, .. }) => write!(f, "{map}: {value}"),
            Self::Lost(Lost { map, count }) => write!(f, "{map}: LOST {count} EVENTS"),
            Self::Map(contents) => contents.fmt(f),
            Self::Trace(TraceLine { line }) => f.write_str(line),
            Self::Iterator(IteratorLine { program, line }) => write!(f, "{program}: {line}"),
        }
    }
}

impl fmt::Display for MapContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { map, entries, truncated } = self;
        if entries.is_empty() {
            return write!(f, "{map}: empty");
        }
        for (at, MapEntry { key, value }) in entries.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{map}: [{key}] = {value}")?;
        }
        if *truncated { write!(f, "\n{map}: and more") } else { Ok(()) }
    }
}

/// A program that is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The function.
    pub name: String,
    /// Its hook, as a section's name: `tp/CATEGORY/NAME`, `kprobe/FUNCTION`, `xdp`.
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
        let Ok(Line::Attached(attached)) = serde_json::from_str(line) else { panic!("not attached") };
        assert_eq!(attached.programs[0].cost.jited_bytes, Some(60));
        assert_eq!(serde_json::to_string(&Line::Attached(attached)).unwrap(), line);
        assert!(serde_json::from_str::<Line>(&line.replace("attached", "detached")).is_err());
    }

    #[test]
    fn every_kind_of_line_is_read_back() {
        let (map, text) = ("m".to_owned(), "1".to_owned());
        let entry = MapEntry { key: text.clone(), value: text.clone() };
        for (line, form) in [
            (
                Line::Record(Record { map: map.clone(), type_name: None, value: text.clone(), bytes: 4 }),
                r#"{"event":"record","map":"m","value":"1","bytes":4}"#,
            ),
            (Line::Lost(Lost { map: map.clone(), count: 2 }), r#"{"event":"lost","map":"m","count":2}"#),
            (
                Line::Map(MapContents { map, entries: vec![entry], truncated: false }),
                r#"{"event":"map","map":"m","entries":[{"key":"1","value":"1"}]}"#,
            ),
            (Line::Trace(TraceLine { line: text.clone() }), r#"{"event":"trace","line":"1"}"#),
            (
                Line::Iterator(IteratorLine { program: "p".to_owned(), line: text }),
                r#"{"event":"iterator","program":"p","line":"1"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&line).unwrap(), form);
            assert_eq!(serde_json::from_str::<Line>(form).unwrap(), line);
        }
    }
}
