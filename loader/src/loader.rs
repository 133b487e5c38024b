//! The trait that each loader implements, and what goes in and out.

use std::num::NonZeroU32;
use std::os::fd::BorrowedFd;

use hooklab_types::loader::LoaderKind;

use crate::{Error, Global, Object};

/// Something that brings programs into the kernel.
pub trait Loader: Sync {
    /// Which one it is.
    fn kind(&self) -> LoaderKind;

    /// The globals that this loader is going to set by itself, besides the filter: `run` refuses those whose value
    /// no instruction reads.
    fn sets(&self) -> &[Setting] {
        &[]
    }

    /// Loads all programs of the object and attaches each where its section says.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] if the verifier refuses one, [`Error::Library`] for everything else. Nothing is left
    /// in the kernel then.
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

/// What a loader is asked to do.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The object, inspected.
    pub object: &'a Object,
    /// The variable to set before the kernel sees the program, and the value.
    pub filter: Option<(&'a Global, NonZeroU32)>,
}

/// Programs that are attached. Dropping it detaches them too.
pub trait Attachment {
    /// The programs, in the object's order.
    fn programs(&self) -> &[AttachedProgram];

    /// A file that is ready to be read when there is something for [`heed`](Self::heed); none where nothing can
    /// happen to the programs by itself.
    fn news(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Takes in what has happened.
    ///
    /// # Errors
    ///
    /// If the programs are not attached any more.
    fn heed(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Detaches and unloads all of them.
    ///
    /// # Errors
    ///
    /// If the loader cannot; the kernel does it then when the process ends.
    fn detach(self: Box<Self>) -> Result<(), Error>;
}

/// One program that is live.
#[derive(Debug, Clone)]
pub struct AttachedProgram {
    /// The function.
    pub name: String,
    /// Its attach point, as [`AttachPoint`](crate::AttachPoint) displays it.
    pub attach: String,
    /// The kernel's id of the program, as `bpftool prog` shows it.
    pub id: u32,
}
