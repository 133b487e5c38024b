//! What tests loaded into the kernel, as their helper notes it in files that come back from the guest.

use serde::{Deserialize, Serialize};

/// Where tests put these files, below the folder that is collected (`tests/guest/support/loads.rs`).
const FOLDER: &str = "loads/";

/// A program that a test had loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) loader: String,
    pub(crate) object: String,
    /// The function.
    pub(crate) program: String,
    /// Instructions that the verifier went through, where the kernel tells (5.16 and later).
    pub(crate) verified_instructions: Option<u32>,
    /// Bytes of machine code; none where the program is interpreted.
    pub(crate) jited_bytes: Option<u32>,
}

/// The loader's own line: one object with its programs.
#[derive(Deserialize)]
struct Line {
    loader: String,
    object: String,
    programs: Vec<Program>,
}

#[derive(Deserialize)]
struct Program {
    name: String,
    verified_instructions: Option<u32>,
    jited_bytes: Option<u32>,
}

/// Reads such a file; of others, and of lines that are none, nothing comes.
pub(crate) fn read(path: &str, content: &str) -> Vec<Load> {
    if !path.starts_with(FOLDER) {
        return Vec::new();
    }
    let lines = content.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let loads = lines.flat_map(|Line { loader, object, programs }| {
        programs.into_iter().map(move |Program { name, verified_instructions, jited_bytes }| Load {
            loader: loader.clone(),
            object: object.clone(),
            program: name,
            verified_instructions,
            jited_bytes,
        })
    });
    loads.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_of_each_line_is_a_load_and_nonsense_is_none() {
        let content = r#"{"event":"attached","loader":"aya","object":"pair.bpf.o","programs":[
            {"name":"a","attach":"x","id":1,"verified_instructions":7,"jited_bytes":60},{"name":"b","id":2}]}"#
            .replace('\n', "")
            + "\nnonsense\n";
        let loads = read("loads/17.jsonl", &content);
        assert_eq!(loads.len(), 2);
        assert_eq!(
            (loads[0].program.as_str(), loads[0].verified_instructions, loads[0].jited_bytes),
            ("a", Some(7), Some(60))
        );
        assert_eq!((loads[1].program.as_str(), loads[1].verified_instructions), ("b", None));
        assert_eq!(read("tests/guest/snapshots/x.snap.new", &content), []);
    }
}
