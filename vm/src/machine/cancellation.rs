//! How waits for a machine are ended from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Flags, any of which ends all waits for a machine once it is set.
#[derive(Debug, Clone, Default)]
pub struct Halt(Vec<Arc<AtomicBool>>);

impl Halt {
    /// Ends with this flag, too.
    pub fn or(mut self, flag: Arc<AtomicBool>) -> Self {
        self.0.push(flag);
        self
    }

    /// Whether it is time to end.
    pub(crate) fn is_set(&self) -> bool {
        self.0.iter().any(|flag| flag.load(Ordering::Relaxed))
    }
}

impl From<Arc<AtomicBool>> for Halt {
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self::default().or(flag)
    }
}
