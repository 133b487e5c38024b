//! Everything that can go wrong, each with a sentence that says what to do, and its exit code.

use std::io;
use std::path::PathBuf;

use hooklab_types::loader::LoaderKind;
use thiserror::Error;

use crate::hook::Hook;
use crate::package::Malformed;

/// Why a program is not loaded, attached or followed.
///
/// A message does not repeat its cause, which is its [`source`](std::error::Error::source).
#[derive(Debug, Error)]
pub enum Error {
    /// The object cannot be read at all.
    #[error("failed to read `{}`; give the path of a compiled eBPF object", path.display())]
    Unreadable {
        /// The path that the user gave.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },

    /// The file is not an ELF object for eBPF.
    #[error("failed to use `{}`: {what}; give an object compiled by `clang -target bpf`", path.display())]
    NotEbpf {
        /// The path that the user gave.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },

    /// The file is a malformed package.
    #[error("failed to use `{}`; create the package again with `hooklab package` or `ecc`", path.display())]
    BadPackage {
        /// The path that the user gave.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Malformed>,
    },

    /// The loader needs a package but got an object.
    #[error(
        "failed to use `{}` with {loader}: it is not a package; give a package.json, which `hooklab package` creates \
         from a source, or choose another loader",
        path.display()
    )]
    NotPackage {
        /// The path that the user gave.
        path: PathBuf,
        /// The loader.
        loader: LoaderKind,
    },

    /// The object has no program to attach.
    #[error(
        "failed to use `{}`: there is no program in it; put one into SEC(\"tp/CATEGORY/NAME\")",
        path.display()
    )]
    NoProgram {
        /// The path that the user gave.
        path: PathBuf,
    },

    /// Every program of an object with several failed.
    #[error("failed to attach any program of `{}`: {}", path.display(), list(reasons))]
    NothingAttached {
        /// The path that the user gave.
        path: PathBuf,
        /// The functions, each with the reason.
        reasons: Vec<(String, String)>,
    },

    /// The loader has no way to attach the program.
    #[error("failed to attach `{program}` in section `{section}`: {reason}")]
    NotAttachable {
        /// The function.
        program: String,
        /// Its section, as the object spells it.
        section: String,
        /// What is missing, as a clause.
        reason: String,
    },

    /// A filter was requested, but the object has no variable for it.
    #[error(
        "failed to set `{name}`: `{}` has no such global of 32 bits; declare `const volatile int {name} = 0;` in the \
         program, or leave --pid-filter out",
        path.display()
    )]
    NoGlobal {
        /// The path that the user gave.
        path: PathBuf,
        /// The variable.
        name: &'static str,
    },

    /// The variable exists, but setting it would have no effect.
    #[error(
        "failed to set `{name}`: no instruction in `{}` reads it, since the compiler constant-folded its initial \
         value; declare it `const volatile`, not `const`, and compile again, or leave {flag} out",
        path.display()
    )]
    ConstantFolded {
        /// The path that the user gave.
        path: PathBuf,
        /// The variable.
        name: String,
        /// The flag that would set it.
        flag: String,
    },

    /// `--set` names a variable that the object does not have.
    #[error(
        "failed to set `{name}`: `{}` has no such global; {}",
        path.display(),
        if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) }
    )]
    UnknownGlobal {
        /// The path that the user gave.
        path: PathBuf,
        /// The variable.
        name: String,
        /// The variables that there are.
        known: Vec<String>,
    },

    /// `--set` gives a variable a value that it cannot have.
    #[error("failed to set `{name}` to `{value}`: {reason}")]
    BadValue {
        /// The variable.
        name: String,
        /// The value, as the user gave it.
        value: String,
        /// What is wrong with it, as a clause.
        reason: String,
    },

    /// `--event` names a struct that the object does not have.
    #[error(
        "failed to decode records as `struct {name}`: `{}` does not describe it; declare a global such as `const struct \
         {name} *unused;` in the program, or leave --event out",
        path.display()
    )]
    NoStruct {
        /// The path that the user gave.
        path: PathBuf,
        /// The struct.
        name: String,
    },

    /// The flag is for loaders that attach what we choose, where we choose.
    #[error(
        "failed to use --{flag}: {loader} decides by itself what it loads and where it attaches it; leave the flag out"
    )]
    ForeignFlag {
        /// The flag, without its dashes.
        flag: &'static str,
        /// The loader.
        loader: LoaderKind,
    },

    /// A package names a variable that its object does not have.
    #[error(
        "failed to set `{name}`: the object in `{}` has no such global; create the package again",
        path.display()
    )]
    NoVariable {
        /// The path that the user gave.
        path: PathBuf,
        /// The variable.
        name: String,
    },

    /// The process may not load programs.
    #[error(
        "failed to load eBPF programs: this process has neither CAP_SYS_ADMIN nor both CAP_BPF and CAP_PERFMON; run it \
         as root"
    )]
    NotPermitted,

    /// tracefs, where the kernel lists its tracepoints, is not mounted.
    #[error(
        "failed to find tracefs: it is mounted neither on /sys/kernel/tracing nor on /sys/kernel/debug/tracing; run \
         `mount -t tracefs tracefs /sys/kernel/tracing`"
    )]
    NoTracefs,

    /// This kernel does not have the tracepoint.
    #[error(
        "failed to attach `{program}` to `{point}`: this kernel has no such tracepoint; `available_events` in tracefs \
         lists those it has"
    )]
    NoTracepoint {
        /// The function.
        program: String,
        /// Its hook.
        point: Hook,
    },

    /// The kernel's verifier rejected a program.
    #[error("failed to load `{program}`: the kernel's verifier rejected it:\n{}", log.trim_end())]
    Rejected {
        /// The function, or the object where the loader does not name the function.
        program: String,
        /// The verifier's log, unchanged.
        log: String,
    },

    /// The binary with the other loaders cannot be started.
    #[error(
        "failed to start `{}`, which has the loaders eunomia and ecli; build it with `cargo build -p \
         hooklab-loader-eunomia`",
        path.display()
    )]
    NoSibling {
        /// Where it should be.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },

    /// The upstream program `ecli` cannot be started.
    #[error(
        "failed to start `{}`; build ecli with `cargo install ecli-rs --version 0.2.9 --locked`, and put it on PATH \
         or name it in HOOKLAB_ECLI",
        path.display()
    )]
    NoEcli {
        /// The program.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },

    /// The loader's library failed.
    #[error("failed to {what} with {loader}")]
    Library {
        /// The loader.
        loader: LoaderKind,
        /// What was being done, as in "load the object".
        what: String,
        /// The library's message, with its causes.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A system call failed that does not fail on a working system.
    #[error("failed to {what}")]
    System {
        /// What was being done.
        what: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
}

/// The exit codes, as `--help` prints them. 1 means a panic.
pub const EXIT_CODES: &str = "\
Exit codes:
   0  attached, and detached when told to stop
   2  the command line is wrong
   3  OBJECT cannot be read
   4  OBJECT is not an eBPF object
   5  there is no program in OBJECT
   6  no program could be attached, or the loader cannot attach one of this kind
   7  OBJECT has no such global, or no such struct
   8  no instruction reads the global that is to be set
   9  not permitted: neither CAP_SYS_ADMIN nor both CAP_BPF and CAP_PERFMON
  10  tracefs is not mounted
  11  the kernel has no such tracepoint
  12  the kernel's verifier rejected the program
  13  the loader's library failed
  14  a system call failed
  15  OBJECT is a damaged package
  16  OBJECT is no package, and the loader takes nothing else";

impl Error {
    /// The exit code for this error, as listed in [`EXIT_CODES`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ForeignFlag { .. } | Self::BadValue { .. } => 2,
            Self::Unreadable { .. } => 3,
            Self::NotEbpf { .. } => 4,
            Self::NoProgram { .. } => 5,
            Self::NothingAttached { .. } | Self::NotAttachable { .. } => 6,
            Self::NoGlobal { .. } | Self::UnknownGlobal { .. } | Self::NoStruct { .. } => 7,
            Self::ConstantFolded { .. } => 8,
            Self::NoVariable { .. } => 15,
            Self::NotPermitted => 9,
            Self::NoTracefs => 10,
            Self::NoTracepoint { .. } => 11,
            Self::Rejected { .. } => 12,
            Self::Library { .. } => 13,
            Self::System { .. } | Self::NoSibling { .. } | Self::NoEcli { .. } => 14,
            Self::BadPackage { .. } => 15,
            Self::NotPackage { .. } => 16,
        }
    }

    /// Why a program is not attached, on one line, where it stands beside the program's name.
    pub fn reason(&self) -> String {
        match self {
            Self::Rejected { log, .. } => {
                let said = |line: &&str| !line.trim().is_empty() && !line.starts_with("processed ");
                let last = log.lines().rfind(said).unwrap_or("it gave no reason");
                format!("the kernel's verifier rejected it: {}", last.trim())
            }
            Self::NotAttachable { reason, .. } => reason.clone(),
            Self::NoTracepoint { .. } => "this kernel has no such tracepoint".to_owned(),
            error => {
                let mut text = error.to_string();
                let mut cause = std::error::Error::source(error);
                while let Some(error) = cause {
                    text = format!("{text}: {error}");
                    cause = error.source();
                }
                text.lines().collect::<Vec<_>>().join("; ")
            }
        }
    }

    /// Wraps an error of libbpf where it does not load, but reads.
    pub(crate) fn library_error(what: &'static str, error: &libbpf_rs::Error) -> Self {
        Self::System { what, source: io::Error::other(format!("{error:#}")) }
    }

    /// Wraps the error of a library, flattened: some libraries repeat causes in their messages.
    pub(crate) fn library(
        loader: LoaderKind,
        what: impl Into<String>,
        error: &(dyn std::error::Error + 'static),
    ) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        Self::Library { loader, what: what.into(), source: message.into() }
    }
}

/// Programs and reasons as one sentence.
fn list(reasons: &[(String, String)]) -> String {
    let each = reasons.iter().map(|(program, reason)| format!("`{program}`: {reason}"));
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_an_error_has_is_in_the_table() {
        let error = Error::System { what: "poll", source: io::Error::other("x") };
        assert!(EXIT_CODES.contains(&format!("\n  {}  ", error.exit_code())));
        assert!(EXIT_CODES.contains(&format!("\n   {}  not permitted", Error::NotPermitted.exit_code())));
    }

    #[test]
    fn a_reason_is_one_line() {
        let log =
            "0: R1=ctx()\n; int x = *p;\nR1 invalid mem access 'scalar'\nprocessed 2 insns\n".to_owned();
        let rejected = Error::Rejected { program: "f".to_owned(), log };
        assert_eq!(rejected.reason(), "the kernel's verifier rejected it: R1 invalid mem access 'scalar'");
        let library = Error::library(LoaderKind::Aya, "attach `f`", &io::Error::other("a\nb"));
        assert_eq!(library.reason(), "failed to attach `f` with aya: a; b");
    }

    #[test]
    fn causes_are_told_once() {
        let inner = io::Error::other("the cause");
        let error = Error::library(LoaderKind::Aya, "load `x`", &io::Error::other(inner));
        assert_eq!(format!("{:#}", anyhow::Error::from(error)), "failed to load `x` with aya: the cause");
    }
}
