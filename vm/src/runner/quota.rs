//! A quota for what a kernel's guests send: each message is limited, and so must be their sum.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes for one kernel: some hundred tests with the longest output allowed.
const BYTES: usize = 64 << 20;

/// Bytes of a message that are kept once the quota is used up.
const REST: usize = 1 << 10;

/// Memory that a file takes beside its content, in bytes.
const FILE_OVERHEAD: usize = 256;

/// The rest of the quota, in bytes.
pub(super) struct Quota {
    left: AtomicUsize,
}

impl Default for Quota {
    fn default() -> Self {
        Self { left: AtomicUsize::new(BYTES) }
    }
}

impl Quota {
    /// Whether a file of this size is within the quota; uses it up.
    pub(super) fn allows(&self, bytes: usize) -> bool {
        self.take(bytes.saturating_add(FILE_OVERHEAD))
    }

    /// The message, or its beginning once the quota is used up.
    pub(super) fn cut(&self, message: String) -> String {
        if message.len() <= REST || self.take(message.len()) {
            return message;
        }
        let kept = shortened(&message, REST);
        format!("{kept}\n[{} bytes removed: this kernel's guests sent too much]", message.len() - kept.len())
    }

    fn take(&self, bytes: usize) -> bool {
        let rest = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).is_ok()
    }
}

/// The beginning of `text`, of at most so many bytes.
pub(crate) fn shortened(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_messages_is_limited() {
        let quota = Quota::default();
        let long = "ä".repeat(512 << 10);
        let sum: usize = (0..1000).map(|_| quota.cut(long.clone()).len()).sum();
        assert!(sum <= BYTES + 1000 * (REST + 100), "{sum}");
        assert!(!quota.allows(1 << 20));
        // Short messages are always kept.
        assert_eq!(quota.cut("no".into()), "no");
    }

    #[test]
    fn empty_files_count_as_well() {
        let quota = Quota::default();
        assert!((0..BYTES).any(|_| !quota.allows(0)));
    }
}
