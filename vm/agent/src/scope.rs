//! The scope of the agent: a whole machine, or its own processes on the running kernel.

/// What the agent may check and remove after a test.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope {
    /// The whole machine, with every other process: nobody else uses it.
    Machine,
    /// The test's process group: other processes share the kernel.
    ProcessGroup,
}
