//! What some tests of the command line need of the host, which not every host has.
//!
//! Both the tests and `cargo xtask test` are compiled with this file: the one leaves out, lists and counts the tests whose
//! needs the host does not meet; the other has them fail if they are run all the same.

use std::fs::File;
use std::path::Path;
use std::process::Command;

/// Something that a test needs of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Root, to be two users.
    Root,
    /// Mounts in a namespace of one's own.
    Mounts,
    /// A `/dev/kvm` that opens.
    Kvm,
    /// An archive of Debian's security updates among the host's apt sources.
    SecurityArchive,
    /// A checkout that other users can reach.
    ReadableCheckout,
}

/// The tests that need something, each with all that it needs.
pub(crate) const TABLE: &[(&str, &[Need])] = &[
    ("faults::cache::a_read_only_cache_that_has_all_serves_as_any_other", &[Need::Mounts]),
    ("faults::cache::a_read_only_cache_that_lacks_something_is_an_error_or_a_warning", &[Need::Mounts]),
    ("faults::cache::another_users_cache_is_not_written_to", &[Need::ReadableCheckout]),
    ("faults::cache::another_users_cache_is_read_and_not_pruned", &[Need::Root, Need::ReadableCheckout]),
    ("faults::disk::a_cache_without_room_costs_warnings_alone", &[Need::Mounts]),
    ("faults::disk::a_kernel_that_finds_no_room_is_refused_until_there_is_some", &[Need::Mounts]),
    ("faults::disk::a_report_that_cannot_be_written_is_an_error_after_all_has_been_shown", &[Need::Mounts]),
    ("faults::disk::consoles_that_cannot_be_kept_change_no_verdict", &[Need::Mounts]),
    ("faults::kvm::kvm_that_fails_at_once_is_found_out_once_and_done_without", &[Need::Kvm]),
    ("faults::kvm::kvm_that_hangs_costs_ten_seconds_once", &[Need::Kvm]),
    ("faults::network::an_index_of_yesterday_is_left_out", &[Need::SecurityArchive]),
    ("faults::network::an_index_whose_signature_does_not_verify_is_left_out", &[Need::SecurityArchive]),
    ("faults::network::an_index_without_a_signature_is_left_out", &[Need::SecurityArchive]),
    ("saved::a_full_disk_costs_a_warning", &[Need::Mounts]),
];

/// The tests that may be left out where `CI` is set, one a line.
pub(crate) const NOT_RUN_IN_CI: &str = include_str!("not-run-in-ci.txt");

impl Need {
    /// Finds out whether the host meets the need.
    ///
    /// # Errors
    /// Why it does not, to follow "needs ".
    pub(crate) fn probe(self, root: &Path) -> Result<(), String> {
        let met = match self {
            Self::Root => nix::unistd::Uid::effective().is_root(),
            Self::Mounts => succeeds(unshare(
                "mount -t tmpfs none /mnt && mount --bind /mnt /mnt && mount -o remount,bind,ro /mnt",
            )),
            Self::Kvm => File::options().read(true).write(true).open("/dev/kvm").is_ok(),
            Self::SecurityArchive => security_archive().is_some(),
            Self::ReadableCheckout => is_readable_by_others(root),
        };
        if met { Ok(()) } else { Err(self.sentence().to_owned()) }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Mounts => "leave to mount file systems in a namespace of its own",
            Self::Kvm => "a /dev/kvm that opens",
            Self::SecurityArchive => "Debian's security archive among the apt sources of the host",
            Self::ReadableCheckout => "a checkout and a target directory that other users can reach",
        }
    }
}

/// `unshare` with these lines of shell in a mount namespace of its own; the arguments that follow are theirs.
pub(crate) fn unshare(script: &str) -> Command {
    let alone = if nix::unistd::Uid::effective().is_root() { "--mount" } else { "--map-root-user" };
    let mut unshare = Command::new("unshare");
    unshare.args([alone, "--mount", "sh", "-c", script, "sh"]);
    unshare
}

/// Where the host gets Debian's security updates from.
pub(crate) fn security_archive() -> Option<String> {
    let format = "$(RELEASE) $(REPO_URI)";
    let output = Command::new("apt-get").args(["indextargets", "--format", format]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let uri = text.lines().find_map(|line| Some(line.split_once("-security ")?.1))?;
    uri.contains("debian-security").then(|| uri.to_owned())
}

/// Whether a user who owns nothing reaches the checkout. One who is not root does as himself.
fn is_readable_by_others(root: &Path) -> bool {
    if !nix::unistd::Uid::effective().is_root() {
        return true;
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    // Debian's `nobody`.
    let mut test = Command::new("setpriv");
    test.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c"]);
    test.args([r#"test -r "$1/Cargo.toml" && test -x "$2""#, "sh"]).arg(root).arg(target);
    succeeds(test)
}

fn succeeds(mut command: Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
