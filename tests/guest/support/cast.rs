//! Who plays which role: turns the trace into text that is the same on every run.

use super::line::Line;

/// The processes and threads that a test knows, by their ids.
pub(crate) struct Cast {
    roles: Vec<(u32, &'static str)>,
}

impl Cast {
    pub(crate) fn new(roles: impl IntoIterator<Item = (u32, &'static str)>) -> Self {
        Self { roles: roles.into_iter().collect() }
    }

    pub(crate) fn add(&mut self, id: u32, role: &'static str) {
        self.roles.push((id, role));
    }

    /// The lines that members of the cast caused, in order.
    ///
    /// Whose line it is says the kernel's own column, not the message. What differs from run to run is left out
    /// (task name, CPU, flags, time), ids of the cast become roles, and nothing else of a message is touched: a
    /// wrong number stays.
    pub(crate) fn transcript(&self, lines: &[Line]) -> String {
        let of_the_cast = lines.iter().filter_map(|line| Some((self.role(line.tid)?, line)));
        of_the_cast
            .map(|(role, line)| format!("<{role}> {}: {}\n", line.origin, self.recast(&line.message)))
            .collect()
    }

    fn role(&self, id: u32) -> Option<&'static str> {
        self.roles.iter().find(|(known, _)| *known == id).map(|(_, role)| *role)
    }

    /// Puts roles in the place of ids.
    fn recast(&self, message: &str) -> String {
        let mut text = String::new();
        let mut rest = message;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, number) = rest.split_at(start);
            let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
            let (number, after) = number.split_at(end);
            text.push_str(before);
            match number.parse().ok().and_then(|id| self.role(id)) {
                Some(role) => text.extend(["<", role, ">"]),
                None => text.push_str(number),
            }
            rest = after;
        }
        text + rest
    }
}
