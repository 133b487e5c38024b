//! Tracing: events and settings in tracefs (kernel documentation, `trace/ftrace.rst`).

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};

use super::Watcher;
use super::listing::Listing;

const TRACEFS: &str = "/sys/kernel/tracing";

/// Maximum number of events that are listed: one write can enable more than a thousand.
const LISTED: usize = 8;

/// Files with one setting each, relative to [`TRACEFS`], in the order in which to reset them: an active tracer may reject
/// changes to other settings.
const SETTINGS: [&str; 13] = [
    "current_tracer",
    "tracing_on",
    "buffer_size_kb",
    "trace_clock",
    "trace_options",
    "tracing_cpumask",
    "tracing_thresh",
    "set_event_pid",
    "set_ftrace_pid",
    "set_ftrace_filter",
    "set_ftrace_notrace",
    "/proc/sys/kernel/ftrace_enabled",
    "/proc/sys/kernel/bpf_stats_enabled",
];

/// Page size in KiB.
const PAGE_KB: u64 = 4;

/// The event that the kernel itself enables, permanently, when a program that prints is loaded (Linux,
/// `kernel/trace/bpf_trace.c`, `__set_printk_clr_event`).
const KERNELS_OWN_EVENT: &str = "bpf_trace:bpf_trace_printk";

/// Maximum length of a setting to compare, in bytes.
const SETTING_BYTES: u64 = 4096;

fn path(file: &str) -> String {
    if file.starts_with('/') { file.to_owned() } else { format!("{TRACEFS}/{file}") }
}

/// The first bytes of a file; empty if it does not exist.
fn read(file: &str) -> String {
    let mut text = Vec::new();
    let _ = File::open(path(file)).and_then(|file| file.take(SETTING_BYTES).read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

/// Appends to a file: opening it without `O_APPEND` may clear the list that it contains.
fn append(file: &str, text: &str) -> std::io::Result<()> {
    OpenOptions::new().append(true).open(path(file))?.write_all(text.as_bytes())
}

/// Describes the first events, and counts the others.
fn list(events: &[String], describe: impl Fn(&str) -> String, plural: &str) -> Vec<String> {
    let mut lines: Vec<String> = events.iter().take(LISTED).map(|event| describe(event)).collect();
    if events.len() > LISTED {
        lines.push(format!("{} more {plural}", events.len() - LISTED));
    }
    lines
}

/// Global settings.
pub(super) struct Settings {
    before: Vec<String>,
}

impl Settings {
    pub(super) fn now() -> Self {
        Self { before: SETTINGS.map(read).to_vec() }
    }
}

impl Watcher for Settings {
    fn leaks(&mut self) -> Vec<String> {
        let mut leaks = Vec::new();
        for (file, before) in SETTINGS.iter().zip(&mut self.before) {
            let now = read(file);
            if now == *before {
                continue;
            }
            if is_expansion(before, &now) {
                *before = now;
                continue;
            }
            let change = |before: &str, now: &str| format!("{file} set to {now:?}, was {before:?}");
            leaks.extend(match *file {
                "trace_options" => {
                    changed_lines(before, &now).map(|line| format!("trace option {line}")).collect()
                }
                _ => vec![change(setting(before), setting(&now))],
            });
        }
        leaks
    }

    fn remove(&mut self) {
        for (file, before) in SETTINGS.iter().zip(&self.before) {
            let now = read(file);
            if now == *before {
                continue;
            }
            // The next check finds what could not be reset.
            if *file == "trace_options" {
                for option in changed_lines(&now, before) {
                    let _ = append(file, option);
                }
            } else {
                // Opening a filter list for writing clears it. Without entries it may read as a comment, which is not written.
                let setting = setting(before);
                let text = if file.starts_with("set_") { "" } else { setting };
                let _ = fs::write(path(file), text);
            }
        }
    }
}

/// Whether the kernel has allocated the buffer: on first use, `7 (expanded: 1408)` becomes 1408, rounded up to pages.
fn is_expansion(before: &str, now: &str) -> bool {
    let expanded = before.trim_end().split_once(" (expanded: ").and_then(|(_, rest)| rest.strip_suffix(')'));
    let number = |text: &str| text.trim_end().parse::<u64>().ok();
    let sizes = expanded.and_then(number).zip(number(now));
    sizes.is_some_and(|(promised, size)| (promised..promised + PAGE_KB).contains(&size))
}

/// The setting in the text of a file: of several choices the one in brackets, of a buffer its expanded size.
fn setting(text: &str) -> &str {
    let text = text.trim_end();
    let within = |open, close| text.split_once(open).and_then(|(_, rest)| rest.split_once(close));
    within("(expanded: ", ')').or_else(|| within("[", ']')).map_or(text, |(word, _)| word)
}

/// The lines of `now` that are not in `before`.
fn changed_lines<'a>(before: &'a str, now: &'a str) -> impl Iterator<Item = &'a str> {
    now.lines().filter(move |line| before.lines().all(|other| other != *line))
}

/// Enabled events.
pub(super) struct EnabledEvents {
    before: BTreeSet<String>,
}

impl EnabledEvents {
    pub(super) fn now() -> Self {
        Self { before: enabled_events().collect() }
    }

    fn added(&self) -> Vec<String> {
        enabled_events().filter(|event| !self.before.contains(event)).collect()
    }
}

impl Watcher for EnabledEvents {
    fn leaks(&mut self) -> Vec<String> {
        list(&self.added(), |event| format!("enabled event {event}"), "enabled events")
    }

    fn remove(&mut self) {
        for event in self.added() {
            let _ = append("set_event", &format!("!{event}\n"));
        }
    }
}

/// The enabled events. Listing them is slow, so a single file is read first, which shows whether there are any.
fn enabled_events() -> impl Iterator<Item = String> {
    let none = matches!(read("events/enable").trim_end(), "" | "0");
    let list = if none { String::new() } else { fs::read_to_string(path("set_event")).unwrap_or_default() };
    let ours = list.lines().filter(|event| *event != KERNELS_OWN_EVENT);
    ours.map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Dynamic events: kprobe, uprobe, synthetic and others.
pub(super) struct DynamicEvents {
    before: BTreeSet<String>,
}

impl DynamicEvents {
    const FILE: &str = "dynamic_events";

    pub(super) fn now() -> Self {
        Self { before: Self::all().collect() }
    }

    fn all() -> impl Iterator<Item = String> {
        let list = fs::read_to_string(path(Self::FILE)).unwrap_or_default();
        list.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
    }

    fn added(&self) -> Vec<String> {
        Self::all().filter(|event| !self.before.contains(event)).collect()
    }
}

impl Watcher for DynamicEvents {
    fn leaks(&mut self) -> Vec<String> {
        let describe = |event: &str| {
            let kind = match event.chars().next() {
                Some('p' | 'r') if event.contains(":kprobes/") => "kprobe event",
                Some('p' | 'r') if event.contains(":uprobes/") => "uprobe event",
                _ => "dynamic event",
            };
            format!("{kind} {event}")
        };
        list(&self.added(), describe, "dynamic events")
    }

    fn remove(&mut self) {
        // The newest first: an event may be based on older ones.
        for event in self.added().iter().rev() {
            if let Some(name) = event_name(event) {
                let _ = append(Self::FILE, &format!("-:{name}\n"));
            }
        }
    }
}

/// The name of an event in a line such as `p:kprobes/mine vfs_read`, `r8:kprobes/mine vfs_read`, `s:synthetic/mine u64 a`.
fn event_name(line: &str) -> Option<&str> {
    line.split_whitespace().next()?.split_once(':').map(|(_, name)| name)
}

/// Trace instances, which have buffers and settings of their own.
pub(super) struct Instances(Listing);

impl Instances {
    const DIRECTORY: &str = "/sys/kernel/tracing/instances";

    pub(super) fn now() -> Self {
        Self(Listing::now(Self::DIRECTORY))
    }
}

impl Watcher for Instances {
    fn leaks(&mut self) -> Vec<String> {
        self.0.added().iter().map(|name| format!("trace instance {}", name.display())).collect()
    }

    fn remove(&mut self) {
        for name in self.0.added() {
            let _ = fs::remove_dir(std::path::Path::new(Self::DIRECTORY).join(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_extracted_from_its_file() {
        assert_eq!(setting("local [global] counter\n"), "global");
        assert_eq!(setting("7 (expanded: 1408)\n"), "1408");
        assert_eq!(setting("nop\n"), "nop");
    }

    #[test]
    fn the_first_use_of_a_buffer_is_not_a_change() {
        assert!(is_expansion("7 (expanded: 1408)\n", "1408\n"));
        assert!(is_expansion("7 (expanded: 1408)\n", "1410\n"));
        assert!(!is_expansion("7 (expanded: 1408)\n", "7\n"));
        assert!(!is_expansion("1408\n", "7\n"));
    }

    #[test]
    fn changed_options_are_listed_by_line() {
        let changed: Vec<&str> =
            changed_lines("print-parent\nnosym-offset\n", "noprint-parent\nnosym-offset\n").collect();
        assert_eq!(changed, ["noprint-parent"]);
    }

    #[test]
    fn the_name_of_an_event_is_extracted() {
        assert_eq!(event_name("p:kprobes/mine vfs_read"), Some("kprobes/mine"));
        assert_eq!(event_name("r8:kprobes/mine vfs_read a=$retval"), Some("kprobes/mine"));
        assert_eq!(event_name(""), None);
    }
}
