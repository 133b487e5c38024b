//! What tells tests apart.

use std::fmt;

/// A test of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TestId {
    /// The binary that has it, relative to the payload.
    pub binary: String,
    /// Its name, as its binary lists it.
    pub name: String,
}

impl fmt::Display for TestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
