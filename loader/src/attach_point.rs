//! The attach point of a program, read from the name of its section.

use std::fmt;

/// The hook in the kernel that a program attaches to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachPoint {
    /// A static tracepoint, as tracefs lists it under `events/CATEGORY/NAME`.
    Tracepoint {
        /// The subsystem, as in `syscalls`.
        category: String,
        /// The event, as in `sys_enter_write`.
        name: String,
    },
}

impl AttachPoint {
    /// Parses a section's name: `tp/CATEGORY/NAME` or `tracepoint/CATEGORY/NAME`, which mean the same.
    ///
    /// Returns `None` for every other name. The two parts become components of a path in tracefs, so neither may be
    /// empty, start with a dot, or contain a slash.
    pub fn from_section(section: &str) -> Option<Self> {
        let event = section.strip_prefix("tp/").or_else(|| section.strip_prefix("tracepoint/"))?;
        let (category, name) = event.split_once('/')?;
        let is_component = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('/');
        (is_component(category) && is_component(name))
            .then(|| Self::Tracepoint { category: category.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for AttachPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tracepoint { category, name } => write!(f, "tp/{category}/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_mean_the_same() {
        let short = AttachPoint::from_section("tp/syscalls/sys_enter_write").expect("a tracepoint");
        assert_eq!(AttachPoint::from_section("tracepoint/syscalls/sys_enter_write"), Some(short.clone()));
        assert_eq!(short.to_string(), "tp/syscalls/sys_enter_write");
    }

    #[test]
    fn other_sections_are_no_tracepoints() {
        for section in [
            "kprobe/ksys_write",
            "tp",
            "tp/",
            "tp/syscalls",
            "tp//x",
            "tp/x/",
            "tp/a/b/c",
            "tp/../x",
            "?tp/a/b",
        ] {
            assert_eq!(AttachPoint::from_section(section), None, "{section}");
        }
    }
}
