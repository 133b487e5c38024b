//! Cancellation of waits for a machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Flags, any of which cancels all waits for a machine once it is set.
#[derive(Debug, Clone, Default)]
pub struct Cancellation(Vec<Arc<AtomicBool>>);

impl Cancellation {
    /// Cancels when this flag is set, too.
    pub fn or(mut self, flag: Arc<AtomicBool>) -> Self {
        self.0.push(flag);
        self
    }

    /// Whether a flag is set.
    pub(crate) fn is_set(&self) -> bool {
        self.0.iter().any(|flag| flag.load(Ordering::Relaxed))
    }
}

impl From<Arc<AtomicBool>> for Cancellation {
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self::default().or(flag)
    }
}
