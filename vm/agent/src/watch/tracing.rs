//! Tracing: what is switched on or set in tracefs (kernel documentation, `trace/ftrace.rst`).

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};

use super::Watcher;
use super::listing::Listing;

const TRACEFS: &str = "/sys/kernel/tracing";

/// Names that are listed, at most: one word switches on more than a thousand events.
const NAMED: usize = 8;

/// Files that hold one setting each, relative to [`TRACEFS`], in the order to set them again: a tracer may refuse a
/// change while it runs.
const SWITCHES: [&str; 13] = [
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

/// Size of a page, in KiB.
const PAGE_KB: u64 = 4;

/// What the kernel itself switches on, for good, when a program that prints is loaded (Linux,
/// `kernel/trace/bpf_trace.c`, `__set_printk_clr_event`).
const KERNELS_OWN_EVENT: &str = "bpf_trace:bpf_trace_printk";

/// Longest setting that is compared, in bytes.
const SETTING_BYTES: u64 = 4096;

fn path(file: &str) -> String {
    if file.starts_with('/') { file.to_owned() } else { format!("{TRACEFS}/{file}") }
}

/// The beginning of a file; empty if it is not there.
fn read(file: &str) -> String {
    let mut text = Vec::new();
    let _ = File::open(path(file)).and_then(|file| file.take(SETTING_BYTES).read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

/// Adds to a list, without emptying it first.
fn append(file: &str, text: &str) -> std::io::Result<()> {
    OpenOptions::new().append(true).open(path(file))?.write_all(text.as_bytes())
}

/// The first few, and how many more.
fn abridged(what: &str, names: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = names.iter().take(NAMED).map(|name| format!("{what} {name}")).collect();
    if names.len() > NAMED {
        lines.push(format!("{what} (and {} more)", names.len() - NAMED));
    }
    lines
}

/// Settings of the trace as a whole.
pub(super) struct Switches {
    before: Vec<String>,
}

impl Switches {
    pub(super) fn now() -> Self {
        Self { before: SWITCHES.map(read).to_vec() }
    }
}

impl Watcher for Switches {
    fn left(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        for (file, before) in SWITCHES.iter().zip(&mut self.before) {
            let now = read(file);
            if now == *before {
                continue;
            }
            if is_expansion(before, &now) {
                *before = now;
                continue;
            }
            let change = |before: &str, now: &str| format!("{file} set to {now:?}, was {before:?}");
            left.extend(match *file {
                "trace_options" => {
                    changed_lines(before, &now).map(|line| format!("trace option {line}")).collect()
                }
                _ => vec![change(setting(before), setting(&now))],
            });
        }
        left
    }

    fn clear(&mut self) {
        for (file, before) in SWITCHES.iter().zip(&self.before) {
            let now = read(file);
            if now == *before {
                continue;
            }
            // What cannot be set is seen again.
            if *file == "trace_options" {
                for option in changed_lines(&now, before) {
                    let _ = append(file, option);
                }
            } else {
                // A list of filters is a sentence, or nothing, while there is none; opened anew it is emptied.
                let setting = setting(before);
                let text = if file.starts_with("set_") { "" } else { setting };
                let _ = fs::write(path(file), text);
            }
        }
    }
}

/// The kernel sets the buffer aside when it is first used: `7 (expanded: 1408)` becomes that, rounded up to pages.
fn is_expansion(before: &str, now: &str) -> bool {
    let expanded = before.trim_end().split_once(" (expanded: ").and_then(|(_, rest)| rest.strip_suffix(')'));
    let number = |text: &str| text.trim_end().parse::<u64>().ok();
    let sizes = expanded.and_then(number).zip(number(now));
    sizes.is_some_and(|(promised, size)| (promised..promised + PAGE_KB).contains(&size))
}

/// The setting in a file's text: of several words the one in brackets, of a buffer the size that it will have.
fn setting(text: &str) -> &str {
    let text = text.trim_end();
    let within = |open, close| text.split_once(open).and_then(|(_, rest)| rest.split_once(close));
    within("(expanded: ", ')').or_else(|| within("[", ']')).map_or(text, |(word, _)| word)
}

/// Lines of `now` that are not in `before`.
fn changed_lines<'a>(before: &'a str, now: &'a str) -> impl Iterator<Item = &'a str> {
    now.lines().filter(move |line| before.lines().all(|other| other != *line))
}

/// Events that are switched on.
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
    fn left(&mut self) -> Vec<String> {
        abridged("event left on:", &self.added())
    }

    fn clear(&mut self) {
        for event in self.added() {
            let _ = append("set_event", &format!("!{event}\n"));
        }
    }
}

/// Walking all events takes the kernel a while; one file says whether any is on.
fn enabled_events() -> impl Iterator<Item = String> {
    let none = matches!(read("events/enable").trim_end(), "" | "0");
    let list = if none { String::new() } else { fs::read_to_string(path("set_event")).unwrap_or_default() };
    let ours = list.lines().filter(|event| *event != KERNELS_OWN_EVENT);
    ours.map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Kprobe, uprobe, synthetic and other events that were made at run time.
pub(super) struct DynamicEvents {
    before: BTreeSet<String>,
}

impl DynamicEvents {
    const FILE: &str = "dynamic_events";

    pub(super) fn now() -> Self {
        Self { before: Self::list().collect() }
    }

    fn list() -> impl Iterator<Item = String> {
        let list = fs::read_to_string(path(Self::FILE)).unwrap_or_default();
        list.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
    }

    fn added(&self) -> Vec<String> {
        Self::list().filter(|event| !self.before.contains(event)).collect()
    }
}

impl Watcher for DynamicEvents {
    fn left(&mut self) -> Vec<String> {
        let named = |event: &String| {
            let kind = match event.chars().next() {
                Some('p' | 'r') if event.contains(":kprobes/") => "kprobe event",
                Some('p' | 'r') if event.contains(":uprobes/") => "uprobe event",
                _ => "event made at run time:",
            };
            format!("{kind} {event}")
        };
        let new = self.added();
        let mut left: Vec<String> = new.iter().take(NAMED).map(named).collect();
        if new.len() > NAMED {
            left.push(format!("events made at run time (and {} more)", new.len() - NAMED));
        }
        left
    }

    fn clear(&mut self) {
        // The last made first: one may be made of others.
        for event in self.added().iter().rev() {
            if let Some(name) = event_name(event) {
                let _ = append(Self::FILE, &format!("-:{name}\n"));
            }
        }
    }
}

/// The name in `p:kprobes/mine vfs_read`, `r8:kprobes/mine vfs_read`, `s:synthetic/mine u64 a`.
fn event_name(line: &str) -> Option<&str> {
    line.split_whitespace().next()?.split_once(':').map(|(_, name)| name)
}

/// Further buffers with settings of their own.
pub(super) struct Instances(Listing);

impl Instances {
    const FOLDER: &str = "/sys/kernel/tracing/instances";

    pub(super) fn now() -> Self {
        Self(Listing::now(Self::FOLDER))
    }
}

impl Watcher for Instances {
    fn left(&mut self) -> Vec<String> {
        self.0.added().iter().map(|name| format!("trace instance {}", name.display())).collect()
    }

    fn clear(&mut self) {
        for name in self.0.added() {
            let _ = fs::remove_dir(std::path::Path::new(Self::FOLDER).join(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_found_in_what_stands_around_it() {
        assert_eq!(setting("local [global] counter\n"), "global");
        assert_eq!(setting("7 (expanded: 1408)\n"), "1408");
        assert_eq!(setting("nop\n"), "nop");
    }

    #[test]
    fn a_buffer_that_is_first_used_is_no_change() {
        assert!(is_expansion("7 (expanded: 1408)\n", "1408\n"));
        assert!(is_expansion("7 (expanded: 1408)\n", "1410\n"));
        assert!(!is_expansion("7 (expanded: 1408)\n", "7\n"));
        assert!(!is_expansion("1408\n", "7\n"));
    }

    #[test]
    fn changed_options_are_told_by_their_lines() {
        let changed: Vec<&str> =
            changed_lines("print-parent\nnosym-offset\n", "noprint-parent\nnosym-offset\n").collect();
        assert_eq!(changed, ["noprint-parent"]);
    }

    #[test]
    fn the_name_of_an_event_is_found() {
        assert_eq!(event_name("p:kprobes/mine vfs_read"), Some("kprobes/mine"));
        assert_eq!(event_name("r8:kprobes/mine vfs_read a=$retval"), Some("kprobes/mine"));
        assert_eq!(event_name(""), None);
    }
}
