//! The trait that each loader implements, with its input and output.

use std::num::NonZeroU32;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use hooklab_types::loader::LoaderKind;

use crate::{Error, Global, Object};

/// Loads programs into the kernel and attaches them.
pub trait Loader: Sync {
    /// The kind of loader.
    fn kind(&self) -> LoaderKind;

    /// The globals that this loader sets besides the filter; `run` refuses those whose value no instruction reads.
    fn sets(&self) -> &[Setting] {
        &[]
    }

    /// Loads all programs of the object and attaches each to the attach point that its section names.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] if the verifier refuses one, [`Error::Library`] for everything else. On error
    /// nothing stays in the kernel.
    fn attach(&self, job: &Job<'_>) -> Result<Box<dyn Attachment>, Error>;
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
    /// The variable to set before the kernel sees the program, and the value.
    pub filter: Option<(&'a Global, NonZeroU32)>,
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
    /// Its attach point, as [`AttachPoint`](crate::AttachPoint) displays it.
    pub attach: String,
    /// The kernel's id of the program, as `bpftool prog` shows it.
    pub id: u32,
}
