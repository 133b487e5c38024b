//! Whose the kernel is that tests run on.

/// What the agent may remove after a test.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope {
    /// Every other process: the machine is the agent's own.
    Machine,
    /// The test's process group: others live here, too.
    ProcessGroup,
}
