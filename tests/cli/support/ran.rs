//! What came of a run that has ended.

use serde_json::Value;

use super::{TestEnv, root};

/// A run that has ended.
pub(crate) struct Ran {
    /// The exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it printed. In both, `[root]` stands for the checkout and `[temporary]` for the environment's directory.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The JSON report; null if there is none.
    #[cfg_attr(not(feature = "lab"), expect(dead_code, reason = "runs with a report boot guests"))]
    pub(crate) report: Value,
}

impl Ran {
    /// Checks the exit code.
    pub(crate) fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }
}

impl TestEnv {
    /// What came of a process of this environment.
    pub(super) fn ran(&self, code: Option<i32>, stdout: &[u8], stderr: &[u8], report: Value) -> Ran {
        let directory = self.path("out.json").parent().unwrap().display().to_string();
        let tidy = |bytes: &[u8]| {
            let text = replace(std::str::from_utf8(bytes).unwrap(), &directory, "[temporary]");
            replace(&text, root().to_str().unwrap(), "[root]")
        };
        Ran { code, stdout: tidy(stdout), stderr: tidy(stderr), report }
    }
}

/// A text with other words for a path.
fn replace(text: &str, path: &str, words: &str) -> String {
    let (mut replaced, mut end) = (String::new(), 0);
    for begin in paths(text, path) {
        replaced += &format!("{}{words}", &text[end..begin]);
        end = begin + path.len();
    }
    replaced + &text[end..]
}

/// Where a text names this absolute path or something below it. A path that merely has the same names in it, as
/// `library/core/src/lib.rs` has those of `/src`, is another one.
pub(crate) fn paths(text: &str, path: &str) -> Vec<usize> {
    let is_of_a_name = |character: char| character.is_alphanumeric() || "_-.+~".contains(character);
    let names = text.match_indices(path).map(|(at, _)| at).filter(|at| {
        let continues = text[..*at].ends_with(|before| is_of_a_name(before) || before == '/');
        !continues && !text[at + path.len()..].starts_with(is_of_a_name)
    });
    names.collect()
}

#[cfg(feature = "lab")]
impl Ran {
    /// The first kernel of the report.
    pub(crate) fn kernel(&self) -> &Value {
        &self.report["kernels"][0]
    }

    /// The results of its tests.
    pub(crate) fn tests(&self) -> &[Value] {
        self.kernel()["tests"].as_array().unwrap()
    }

    /// Its tests, as `NAME OUTCOME`.
    pub(crate) fn outcomes(&self) -> Vec<String> {
        let tests = self.tests().iter();
        tests.map(|test| format!("{} {}", text(&test["name"]), text(&test["outcome"]))).collect()
    }

    /// One test of it.
    pub(crate) fn test(&self, name: &str) -> &Value {
        self.tests().iter().find(|test| test["name"] == name).unwrap()
    }

    /// Why it did not pass.
    pub(crate) fn message(&self, name: &str) -> &str {
        text(&self.test(name)["message"])
    }
}

/// Checks that a test or a kernel of the report took as long as its limit, and was given up promptly then.
#[cfg(feature = "lab")]
pub(crate) fn took_its_limit(result: &Value, limit: f64) {
    let seconds = result["seconds"].as_f64().or_else(|| result["wall_seconds"].as_f64()).unwrap();
    assert!((limit..limit + super::PROMPTLY.as_secs_f64()).contains(&seconds), "{result}");
}

#[cfg(feature = "lab")]
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
