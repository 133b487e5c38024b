//! The verdict on a test whose process has ended, given its side effects on the kernel.

use hooklab_protocol::{MAX_KERNEL_WARNING_BYTES, MAX_LEAKS, SideEffects};

use super::quota::shortened;
use crate::event::Outcome;

/// Longest name of a leak, in bytes.
const NAME_BYTES: usize = 512;

/// Adds side effects to the verdict on the process alone: a test that leaks, or during which the kernel warns, does not
/// pass, nor does one that says that it is unsupported. Limits what the agent reports: a hostile guest may have replaced it.
pub(super) fn with_side_effects(
    (outcome, message): (Outcome, Option<String>),
    side_effects: &SideEffects,
) -> (Outcome, Option<String>) {
    let fine = outcome.is_fine();
    let mut parts: Vec<String> = message.into_iter().filter(|message| !message.is_empty()).collect();
    let mut verdict = outcome;
    if !side_effects.leaks.is_empty() {
        verdict = if fine { Outcome::Leaked } else { verdict };
        let leaks = side_effects.leaks.iter().take(MAX_LEAKS).map(|name| shortened(name, NAME_BYTES));
        parts.push(format!("it leaked:\n{}", leaks.collect::<Vec<_>>().join("\n")));
    }
    if !side_effects.kernel_warnings.is_empty() {
        verdict = if fine { Outcome::Failed } else { verdict };
        parts.push(format!(
            "kernel warnings:\n{}",
            shortened(&side_effects.kernel_warnings, MAX_KERNEL_WARNING_BYTES)
        ));
    }
    (verdict, (!parts.is_empty()).then(|| parts.join("\n")))
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
    fn without_side_effects_the_verdict_stays() {
        assert_eq!(with_side_effects(PASSED, &SideEffects::default()), PASSED);
        let failed = (Outcome::Failed, Some("no".to_owned()));
        assert_eq!(with_side_effects(failed.clone(), &SideEffects::default()), failed);
    }

    #[test]
    fn a_test_that_leaks_does_not_pass() {
        let (outcome, message) = with_side_effects(PASSED, &side_effects(&["a map", "a mount"], ""));
        assert_eq!(outcome, Outcome::Leaked);
        assert_eq!(message.unwrap(), "it leaked:\na map\na mount");
    }

    #[test]
    fn a_program_that_says_unsupported_and_leaks_is_leaked() {
        let unsupported = (Outcome::Unsupported, Some("no BTF".to_owned()));
        let (outcome, message) = with_side_effects(unsupported, &side_effects(&["a map"], ""));
        assert_eq!(outcome, Outcome::Leaked);
        assert_eq!(message.unwrap(), "no BTF\nit leaked:\na map");
    }

    #[test]
    fn a_kernel_warning_fails_a_test_whether_it_leaks_or_not() {
        let (outcome, message) = with_side_effects(PASSED, &side_effects(&["a map"], "WARNING: x"));
        assert_eq!(outcome, Outcome::Failed);
        assert_eq!(message.unwrap(), "it leaked:\na map\nkernel warnings:\nWARNING: x");
    }

    #[test]
    fn side_effects_do_not_hide_why_a_test_failed() {
        let timed_out = (Outcome::TimedOut, Some("slow".into()));
        let (outcome, message) = with_side_effects(timed_out, &side_effects(&["a map"], ""));
        assert_eq!(outcome, Outcome::TimedOut);
        assert_eq!(message.unwrap(), "slow\nit leaked:\na map");
    }

    #[test]
    fn what_a_guest_reports_is_limited() {
        let endless = "ü".repeat(1 << 20);
        let (_, message) = with_side_effects(PASSED, &side_effects(&[endless.as_str(); 1000], &endless));
        assert!(message.unwrap().len() < MAX_LEAKS * (NAME_BYTES + 1) + MAX_KERNEL_WARNING_BYTES + 100);
    }
}
