//! How much a kernel's guests may say in all: each message is bounded, and so must be their sum.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes for one kernel: some hundred tests whose output is as long as it may be.
const BYTES: usize = 64 << 20;

/// Bytes of a message that are kept when the ration is used up.
const REST: usize = 1 << 10;

/// What is kept beside a file's content.
const FILE_OVERHEAD: usize = 256;

/// What is left of it.
pub(super) struct Ration {
    left: AtomicUsize,
}

impl Default for Ration {
    fn default() -> Self {
        Self { left: AtomicUsize::new(BYTES) }
    }
}

impl Ration {
    /// Whether a file of this size is still to be taken in.
    pub(super) fn allows(&self, bytes: usize) -> bool {
        self.take(bytes.saturating_add(FILE_OVERHEAD))
    }

    /// The message, or its beginning.
    pub(super) fn cut(&self, message: String) -> String {
        if message.len() <= REST || self.take(message.len()) {
            return message;
        }
        let kept = shortened(&message, REST);
        format!(
            "{kept}\n[left out: {} bytes, since this kernel's guests said too much]",
            message.len() - kept.len()
        )
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
    fn what_is_said_in_all_is_bounded() {
        let ration = Ration::default();
        let long = "ä".repeat(512 << 10);
        let sum: usize = (0..1000).map(|_| ration.cut(long.clone()).len()).sum();
        assert!(sum <= BYTES + 1000 * (REST + 100), "{sum}");
        assert!(!ration.allows(1 << 20));
        // What is short is always heard.
        assert_eq!(ration.cut("no".into()), "no");
    }

    #[test]
    fn files_without_content_count_as_well() {
        let ration = Ration::default();
        assert!((0..BYTES).any(|_| !ration.allows(0)));
    }
}
