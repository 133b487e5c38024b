//! The trait that each loader implements, with its input and output.

use std::num::NonZeroU32;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use hooklab_types::loader::LoaderKind;

use crate::{Error, Global, Object, Program};

/// Loads programs into the kernel and attaches them.
pub trait Loader: Sync {
    /// The kind of loader.
    fn kind(&self) -> LoaderKind;

    /// The globals that this loader sets besides the filter; `run` refuses those whose value no instruction reads.
    fn sets(&self) -> &[Setting] {
        &[]
    }

    /// Loads the programs of the job and attaches each to the hook that its section names. If some programs cannot be loaded
    /// or attached, the others are.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] or [`Error::Library`] if the loader can only do all or nothing. On error nothing stays in the kernel.
    fn attach(&self, job: &Job<'_>) -> Result<Attempt, Error>;
}

/// What became of the programs of a job.
pub struct Attempt {
    /// Those that are attached, possibly none.
    pub attachment: Box<dyn Attachment>,
    /// The others.
    pub failures: Vec<Failure>,
}

/// A program that is not attached, and why.
#[derive(Debug)]
pub struct Failure {
    /// The program.
    pub program: Program,
    /// What prevents it.
    pub error: Error,
}

/// A global and the bytes that it is set to before the kernel sees the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The variable.
    pub global: Global,
    /// Its bytes, no more than the variable has.
    pub bytes: Vec<u8>,
}

/// A global that the user sets with a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The variable.
    pub name: String,
    /// The flag, for messages, such as `--pid_filter`.
    pub flag: String,
}

/// A global and the value that the user gives it, both as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The variable.
    pub name: String,
    /// Its value, in the notation of `--set`.
    pub value: String,
}

/// Where programs go whose sections do not say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The network interface of XDP and TC programs.
    pub interface: String,
    /// The cgroup of cgroup programs; the root of cgroup2 if `None`.
    pub cgroup: Option<PathBuf>,
    /// The file of uprobes whose section names none.
    pub path: Option<PathBuf>,
}

/// The input of a loader.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The object, inspected.
    pub object: &'a Object,
    /// The programs to attach, in the object's order.
    pub programs: &'a [&'a Program],
    /// The variable that `--pid-filter` sets, and the value; it is among the values, too.
    pub filter: Option<(&'a Global, NonZeroU32)>,
    /// All variables to set.
    pub values: &'a [Value],
    /// Where programs go whose sections do not say it.
    pub place: &'a Place,
}

/// Attached programs. Dropping it detaches them, too.
pub trait Attachment {
    /// The programs, in the object's order.
    fn programs(&self) -> &[AttachedProgram];

    /// A file that becomes readable when [`handle_events`](Self::handle_events) has something to do; `None` where the
    /// programs cannot be detached from outside.
    fn events(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Handles what happened to the programs.
    ///
    /// # Errors
    ///
    /// The programs are no longer attached.
    fn handle_events(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Opens the iterators among the programs: reading such a file runs the program.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    fn iterators(&self) -> Result<Vec<(String, OwnedFd)>, Error> {
        Ok(Vec::new())
    }

    /// Detaches and unloads all of them.
    ///
    /// # Errors
    ///
    /// The loader failed to; the kernel then detaches them when the process exits.
    fn detach(self: Box<Self>) -> Result<(), Error>;
}

/// An attached program.
#[derive(Debug, Clone)]
pub struct AttachedProgram {
    /// The function.
    pub name: String,
    /// Its hook, as [`Hook`](crate::Hook) displays it.
    pub attach: String,
    /// The kernel's id of the program, as `bpftool prog` shows it.
    pub id: u32,
}
