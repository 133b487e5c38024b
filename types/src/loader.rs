//! What `hooklab-loader` says on standard output, as one line of JSON.

use serde::{Deserialize, Serialize};

/// The programs are live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// What happened.
    pub event: Event,
    /// Who loaded: `aya`, `libbpf`, ...
    pub loader: String,
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
pub struct Cost {
    /// Instructions that the verifier processed, on all paths; told since 5.16.
    pub verified_instructions: Option<u32>,
    /// Bytes of machine code; none where the program is interpreted.
    pub jited_bytes: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_form() {
        let line = r#"{"event":"attached","loader":"aya","object":"a.bpf.o","programs":[{"name":"f","attach":"x/y","id":7,"verified_instructions":null,"jited_bytes":60}]}"#;
        let attached: Attached = serde_json::from_str(line).unwrap();
        assert_eq!(attached.programs[0].cost.jited_bytes, Some(60));
        assert_eq!(serde_json::to_string(&attached).unwrap(), line);
        assert!(serde_json::from_str::<Attached>(&line.replace("attached", "detached")).is_err());
    }
}
