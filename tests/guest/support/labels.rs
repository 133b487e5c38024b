//! Labels for PIDs: they turn the trace into text that is the same on every run.

use super::line::Line;

/// The processes and threads that a test knows, by their ids.
pub(crate) struct PidLabels {
    labels: Vec<(u32, &'static str)>,
}

impl PidLabels {
    pub(crate) fn new(labels: impl IntoIterator<Item = (u32, &'static str)>) -> Self {
        Self { labels: labels.into_iter().collect() }
    }

    pub(crate) fn add(&mut self, id: u32, label: &'static str) {
        self.labels.push((id, label));
    }

    /// The normalized trace: the lines that labelled processes and threads caused, in order.
    ///
    /// The kernel's own column says whose line it is, not the message. What differs from run to run is left out
    /// (task name, CPU, flags, time), known ids become labels, and nothing else of a message changes: a wrong number
    /// stays.
    pub(crate) fn normalize(&self, lines: &[Line]) -> String {
        let labelled = lines.iter().filter_map(|line| Some((self.label(line.tid)?, line)));
        labelled
            .map(|(label, line)| format!("<{label}> {}: {}\n", line.origin, self.replace_ids(&line.message)))
            .collect()
    }

    fn label(&self, id: u32) -> Option<&'static str> {
        self.labels.iter().find(|(known, _)| *known == id).map(|(_, label)| *label)
    }

    /// Puts labels in the place of ids.
    fn replace_ids(&self, message: &str) -> String {
        let mut text = String::new();
        let mut rest = message;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, number) = rest.split_at(start);
            let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
            let (number, after) = number.split_at(end);
            text.push_str(before);
            match number.parse().ok().and_then(|id| self.label(id)) {
                Some(label) => text.extend(["<", label, ">"]),
                None => text.push_str(number),
            }
            rest = after;
        }
        text + rest
    }
}
