//! What tests loaded into the kernel, as their helper notes it in files that come back from the guest.

use hooklab_types::loader::{Attached, Line, Program};
use hooklab_types::report::Load;

/// Where tests put these files, below the directory that is collected (`tests/guest/support/loads.rs`).
const DIRECTORY: &str = "loads/";

/// Longest name that is taken, in bytes, and most programs of an object: what these files say is a guest's word, and
/// ends in tables and on a page.
const NAME_BYTES: usize = 100;
const PROGRAMS: usize = 64;

/// Reads such a file; of others, and of lines that are none, nothing comes.
pub fn read(path: &str, content: &str) -> Vec<Load> {
    if !path.starts_with(DIRECTORY) {
        return Vec::new();
    }
    let lines = content.lines().filter_map(|line| match serde_json::from_str(line) {
        Ok(Line::Attached(attached)) => Some(attached),
        _ => None,
    });
    let lines = lines.filter(|line| is_name(&line.object));
    let loads = lines.flat_map(|Attached { loader, object, programs, .. }| {
        let programs = programs.into_iter().filter(|program| is_name(&program.name)).take(PROGRAMS);
        programs.map(move |Program { name, cost, .. }| Load {
            loader,
            object: object.clone(),
            program: name,
            cost,
            explained: None,
        })
    });
    loads.collect()
}

/// Whether this is what loaders, objects and functions are called.
fn is_name(text: &str) -> bool {
    let plain = |character: char| character.is_ascii_alphanumeric() || "._-+".contains(character);
    !text.is_empty() && text.len() <= NAME_BYTES && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_of_each_line_is_a_load_and_other_text_is_none() {
        let content = r#"{"event":"attached","loader":"aya","object":"pair.bpf.o","programs":[
            {"name":"a","attach":"x","id":1,"verified_instructions":7,"jited_bytes":60},{"name":"b","attach":"y","id":2}]}"#
            .replace('\n', "")
            + "\nother text\n";
        let loads = read("loads/17.jsonl", &content);
        assert_eq!(loads.len(), 2);
        assert_eq!(
            (loads[0].program.as_str(), loads[0].cost.verified_instructions, loads[0].cost.jited_bytes),
            ("a", Some(7), Some(60))
        );
        assert_eq!((loads[1].program.as_str(), loads[1].cost.verified_instructions), ("b", None));
        assert_eq!(read("tests/guest/snapshots/x.snap.new", &content), []);
    }

    #[test]
    fn names_that_would_draw_in_a_table_are_not_taken() {
        let line = |loader: &str, name: &str| {
            let programs = [serde_json::json!({ "name": name, "attach": "x", "id": 1 })];
            serde_json::json!({ "event": "attached", "loader": loader, "object": "a.bpf.o", "programs": programs }).to_string()
        };
        assert_eq!(read("loads/1.jsonl", &line("aya", "a")).len(), 1);
        for (loader, name) in [("aya", "a\u{1b}[2J"), ("a|b", "a"), ("aya", ""), ("aya", &"a".repeat(101))] {
            assert_eq!(read("loads/1.jsonl", &line(loader, name)), []);
        }
    }
}
