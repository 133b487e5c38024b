//! Messages of a guest as lines: text, or JSON. What a guest sends cannot control the terminal, and what is to be a line
//! stays one.

use hooklab_types::demo::{Actor, Deed, Message};
use hooklab_types::loader::{Attached, Line, LoaderKind};
use hooklab_vm::qemu::console;
use serde_json::Value;

/// A line, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    Output(String),
    Error(String),
}

impl Text {
    pub(super) fn print(&self) {
        match self {
            Self::Output(line) => out!("{line}"),
            Self::Error(line) => err!("{line}"),
        }
    }

    pub(super) fn len(&self) -> usize {
        let (Self::Output(line) | Self::Error(line)) = self;
        line.len()
    }
}

/// Knows the form of the output.
pub(super) struct Renderer {
    pub(super) loader: LoaderKind,
    pub(super) is_json: bool,
    /// Whether each line says of which kernel it is.
    pub(super) is_prefixed: bool,
    /// The user's command.
    pub(super) command: String,
}

impl Renderer {
    /// The lines for a message.
    pub(super) fn message(&self, spec: &str, release: &str, message: Message) -> Vec<Text> {
        match message {
            Message::Loader { line } => self.of_loader(spec, release, &line),
            Message::Workload { actors } => vec![self.beside(spec, &self.actors(&actors))],
            Message::Command { is_error: true, line } => vec![self.said(spec, &line)],
            Message::Command { is_error: false, line } => vec![self.beside(spec, &line)],
            Message::Note { text } => vec![self.said(spec, &format!("note: {text}"))],
            Message::Omitted { lines } => vec![self.omitted(spec, lines)],
        }
    }

    fn of_loader(&self, spec: &str, release: &str, line: &str) -> Vec<Text> {
        match serde_json::from_str(line) {
            Ok(line) if self.is_json => self.json(spec, &line).into_iter().collect(),
            Ok(Line::Attached(attached)) => self.attached(spec, release, &attached),
            Ok(line) => line.to_string().lines().map(|line| self.beside(spec, line)).collect(),
            // What a loader prints by itself.
            Err(_) => vec![self.beside(spec, line)],
        }
    }

    fn json(&self, spec: &str, line: &Line) -> Option<Text> {
        let Value::Object(fields) = serde_json::to_value(line).ok()? else { return None };
        let kernel = ("kernel".to_owned(), Value::from(spec));
        let line: serde_json::Map<String, Value> = [kernel].into_iter().chain(fields).collect();
        Some(Text::Output(printable(&serde_json::to_string(&line).ok()?)))
    }

    fn attached(&self, spec: &str, release: &str, attached: &Attached) -> Vec<Text> {
        let programs = attached.programs.iter();
        let places: Vec<String> =
            programs.map(|program| printable(&format!("{} at {}", program.name, program.attach))).collect();
        let places = if places.is_empty() { "nothing".to_owned() } else { places.join(", ") };
        let first = Text::Output(format!("{release}: {} attached {places}", self.loader));
        let others = attached.not_attached.iter().map(|program| {
            let reason = format!("not attached: {} ({}): {}", program.name, program.section, program.reason);
            self.beside(spec, &reason)
        });
        std::iter::once(first).chain(others).collect()
    }

    pub(super) fn nothing_attached(&self, release: &str) -> Text {
        self.aside(format!("{release}: {} attached nothing", self.loader))
    }

    fn actors(&self, actors: &[Actor]) -> String {
        let does = |actor: &Actor| match &actor.does {
            Deed::Writes(1) => format!("{} writes once", actor.pid),
            Deed::Writes(count) => format!("{} writes {count} times", actor.pid),
            Deed::Makes(stimuli) => {
                let names: Vec<&str> = stimuli.iter().map(|stimulus| stimulus.name()).collect();
                format!("{} does: {}", actor.pid, names.join(" "))
            }
            Deed::Runs => format!("{} runs {}", actor.pid, self.command),
        };
        actors.iter().map(does).collect::<Vec<_>>().join(", ")
    }

    /// A line beside the program's own: in text among them, with JSON on standard error.
    fn beside(&self, spec: &str, line: &str) -> Text {
        self.aside(self.prefixed(spec, line))
    }

    fn aside(&self, line: String) -> Text {
        if self.is_json { Text::Error(line) } else { Text::Output(line) }
    }

    /// A line of somebody's standard error.
    pub(super) fn said(&self, spec: &str, line: &str) -> Text {
        Text::Error(self.prefixed(spec, line))
    }

    /// An error, which names the kernel in any case.
    pub(super) fn error(&self, spec: &str, text: &str) -> Text {
        let lines: Vec<String> = text.lines().map(printable).collect();
        Text::Error(format!("error: {spec}: {}", lines.join("\n")))
    }

    pub(super) fn omitted(&self, spec: &str, lines: u64) -> Text {
        self.said(spec, &format!("note: {lines} more lines are not shown: there were too many"))
    }

    fn prefixed(&self, spec: &str, line: &str) -> String {
        let line = printable(line);
        if self.is_prefixed { format!("{spec}: {line}") } else { line }
    }
}

/// A line that cannot control the terminal.
pub(super) fn printable(line: &str) -> String {
    console::printable(line).replace('\n', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renderer(is_json: bool, is_prefixed: bool) -> Renderer {
        Renderer { loader: LoaderKind::Libbpf, is_json, is_prefixed, command: "ls".into() }
    }

    fn message(renderer: &Renderer, line: &str) -> Vec<Text> {
        renderer.message("6.12", "6.12.1-x", Message::Loader { line: line.into() })
    }

    const TRACE: &str = r#"{"event":"trace","line":"a\u001b[31mb"}"#;
    const ATTACHED: &str = r#"{"event":"attached","loader":"libbpf","object":"a.bpf.o","programs":[{"name":"f","attach":"tp/x/y","id":7,"verified_instructions":null,"jited_bytes":60}],"not_attached":[{"name":"g","section":"xdp","reason":"no such interface"}]}"#;

    #[test]
    fn lines_tell_their_kernel_where_there_are_several() {
        let out = |line: &str| Text::Output(line.into());
        let attached = out("6.12.1-x: libbpf attached f at tp/x/y");
        let left = "not attached: g (xdp): no such interface";
        assert_eq!(message(&renderer(false, false), ATTACHED), [attached.clone(), out(left)]);
        assert_eq!(message(&renderer(false, true), ATTACHED), [attached, out(&format!("6.12: {left}"))]);
        assert_eq!(message(&renderer(false, true), TRACE), [out("6.12: a[31mb")]);
        assert_eq!(message(&renderer(false, true), "by itself"), [out("6.12: by itself")]);
    }

    #[test]
    fn json_has_the_kernel_and_nothing_else_is_on_standard_output() {
        for line in [ATTACHED, TRACE] {
            let [Text::Output(printed)] = &message(&renderer(true, true), line)[..] else { panic!("{line}") };
            let value: Value = serde_json::from_str(printed).unwrap();
            assert_eq!(value["kernel"], "6.12");
            assert_eq!(
                serde_json::from_str::<Line>(printed).unwrap(),
                serde_json::from_str::<Line>(line).unwrap()
            );
        }
        assert_eq!(message(&renderer(true, false), "by itself"), [Text::Error("by itself".into())]);
        let command = Message::Command { is_error: false, line: "x".into() };
        assert_eq!(renderer(true, false).message("6.12", "", command), [Text::Error("x".into())]);
    }
}
