//! The order of Debian's versions.

use std::cmp::Ordering;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use super::command;
use super::error::Error;
use super::trouble::Trouble;

/// Compares two versions the way Debian does (`deb-version(7)`). dpkg is the authority, and is asked few times.
pub(crate) fn compare(left: &str, right: &str, cancel: &AtomicBool) -> Result<Ordering, Error> {
    if left == right {
        return Ok(Ordering::Equal);
    }
    let holds = |relation: &str| {
        let mut command = Command::new("dpkg");
        command.args(["--compare-versions", left, relation, right]);
        let (status, messages) = command::run(&mut command, "dpkg", cancel, || {})?;
        match status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(Error::ToolFailed { tool: "dpkg".into(), trouble: Trouble::of(&messages) }),
        }
    };
    Ok(match (holds("gt")?, || holds("lt")) {
        (true, _) => Ordering::Greater,
        (false, less) if less()? => Ordering::Less,
        _ => Ordering::Equal,
    })
}
