//! What a test did to the kernel, on top of how it ended itself.

use hooklab_protocol::{MAX_KERNEL_WARNING_BYTES, MAX_LEAKS, SideEffects};

use super::quota::shortened;
use crate::event::Outcome;

/// Longest name of a thing that was left behind, in bytes.
const NAME_BYTES: usize = 512;

/// The verdict on a test, given the one on its process alone: one that passed there, and left something behind or had
/// the kernel complain, has not passed. The agent's word is bounded here: it may be no agent of ours.
pub(super) fn weigh(
    (outcome, message): (Outcome, Option<String>),
    side_effects: &SideEffects,
) -> (Outcome, Option<String>) {
    let passed = outcome == Outcome::Passed;
    let mut parts: Vec<String> = message.into_iter().filter(|message| !message.is_empty()).collect();
    let mut weighed = outcome;
    if !side_effects.leaks.is_empty() {
        weighed = if passed { Outcome::Leaked } else { weighed };
        let left = side_effects.leaks.iter().take(MAX_LEAKS).map(|name| shortened(name, NAME_BYTES));
        parts.push(format!("it left behind:\n{}", left.collect::<Vec<_>>().join("\n")));
    }
    if !side_effects.kernel_warnings.is_empty() {
        weighed = if passed { Outcome::Failed } else { weighed };
        parts.push(format!(
            "the kernel complained:\n{}",
            shortened(&side_effects.kernel_warnings, MAX_KERNEL_WARNING_BYTES)
        ));
    }
    (weighed, (!parts.is_empty()).then(|| parts.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: (Outcome, Option<String>) = (Outcome::Passed, None);

    fn side_effects(leaks: &[&str], warnings: &str) -> SideEffects {
        let leaks = leaks.iter().map(|name| (*name).to_owned()).collect();
        SideEffects { leaks, kernel_warnings: warnings.into(), dirty: false }
    }

    #[test]
    fn a_test_that_leaves_nothing_is_what_it_was() {
        assert_eq!(weigh(PASSED, &SideEffects::default()), PASSED);
        let failed = (Outcome::Failed, Some("no".to_owned()));
        assert_eq!(weigh(failed.clone(), &SideEffects::default()), failed);
    }

    #[test]
    fn a_test_that_leaves_something_has_not_passed() {
        let (outcome, message) = weigh(PASSED, &side_effects(&["a map", "a mount"], ""));
        assert_eq!(outcome, Outcome::Leaked);
        assert_eq!(message.unwrap(), "it left behind:\na map\na mount");
    }

    #[test]
    fn a_complaint_of_the_kernels_fails_a_test_whatever_it_left() {
        let (outcome, message) = weigh(PASSED, &side_effects(&["a map"], "WARNING: x"));
        assert_eq!(outcome, Outcome::Failed);
        assert_eq!(message.unwrap(), "it left behind:\na map\nthe kernel complained:\nWARNING: x");
    }

    #[test]
    fn how_a_test_failed_itself_is_not_covered_up() {
        let (outcome, message) =
            weigh((Outcome::TimedOut, Some("slow".into())), &side_effects(&["a map"], ""));
        assert_eq!(outcome, Outcome::TimedOut);
        assert_eq!(message.unwrap(), "slow\nit left behind:\na map");
    }

    #[test]
    fn what_a_guest_says_is_bounded() {
        let endless = "ü".repeat(1 << 20);
        let (_, message) = weigh(PASSED, &side_effects(&[endless.as_str(); 1000], &endless));
        assert!(message.unwrap().len() < MAX_LEAKS * (NAME_BYTES + 1) + MAX_KERNEL_WARNING_BYTES + 100);
    }
}
