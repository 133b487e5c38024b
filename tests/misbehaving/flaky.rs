//! A test that passes on some runs only.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// The binary's last word is a time, in seconds since the epoch: the test passes from then on. Machines are fresh each
/// time, so that nothing but the clock tells one run from the next.
#[test]
fn passes_in_time() {
    let binary = fs::read("/proc/self/exe").unwrap();
    let digits = binary.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let last = String::from_utf8(binary[binary.len() - digits..].to_vec()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(now >= last.parse().unwrap(), "too early");
}
