//! Which of Debian's packages make up a kernel, and which kernel of a series is the newest.
//!
//! There are three layouts. Up to 6.18, `linux-image-R` has all of it. From 6.19 it is empty and depends on
//! `linux-binary-R` (the image), `linux-base-R` (the config) and `linux-modules-R`. Of superseded kernels in that
//! layout the archive keeps the image alone.

use std::cmp::Ordering;
use std::sync::atomic::AtomicBool;

use crate::arch;
use crate::debian::{Entry, Index, Package, Wanted, compare};
use crate::kernel::error::Error;
use crate::kernel::lock::Pin;
use crate::kernel::spec::Spec;

/// The beginnings of names of packages that make up kernels, before the release.
const PARTS: [&str; 4] = ["linux-image-", "linux-binary-", "linux-base-", "linux-modules-"];

/// The packages that make up kernels.
pub(super) const KERNELS: Wanted = Wanted { name: "kernels", prefix: "linux-", is_wanted: is_kernel_package };

/// Whether a package is a signed kernel or a part of one, by its name.
fn is_kernel_package(name: &str) -> bool {
    let release = PARTS.iter().find_map(|part| name.strip_prefix(part));
    // The flavour ends the name, so debug symbols, unsigned images and templates fall out here.
    let is_flavoured = |release: &str| {
        release.strip_suffix(arch::GUEST.debian).is_some_and(|release| release.ends_with('-'))
    };
    release.is_some_and(|release| release.starts_with(|c: char| c.is_ascii_digit()) && is_flavoured(release))
}

/// What a package brings to a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) enum Role {
    /// The image; in the oldest layout also config and modules.
    Image,
    /// The config.
    Config,
    /// The modules.
    Modules,
}

impl Role {
    /// What a package brings, by its name.
    pub(in crate::kernel) fn of(package: &Package) -> Self {
        if package.name.starts_with("linux-base-") {
            Role::Config
        } else if package.name.starts_with("linux-modules-") {
            Role::Modules
        } else {
            Role::Image
        }
    }
}

/// How many versions a message names; old suites and backports together have dozens.
const SHOWN: usize = 5;

/// A kernel that Debian offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kernel) struct Offer {
    /// What `uname -r` prints.
    pub(in crate::kernel) release: String,
    /// Debian's version.
    pub(in crate::kernel) version: String,
    /// Its place in the list of flavours; 0 is the preferred one.
    flavour: usize,
    packages: Vec<Package>,
}

impl Offer {
    /// Whether it has the very files of a pin, wherever they are now.
    pub(in crate::kernel) fn is(&self, pin: &Pin) -> bool {
        let hashes = |packages: &[Package]| -> Vec<String> {
            packages.iter().map(|package| package.sha256.clone()).collect()
        };
        self.release == pin.release && hashes(&self.packages) == hashes(&pin.packages)
    }

    /// The offer as an entry of the lock, under the name `spec`.
    pub(in crate::kernel) fn pin(self, spec: &Spec) -> Pin {
        Pin { spec: spec.to_string(), release: self.release, version: self.version, packages: self.packages }
    }
}

/// All kernels of the index that are complete enough to boot, in its order.
pub(in crate::kernel) fn offers(index: &Index, flavours: &[String]) -> Vec<Offer> {
    let offer = |entry| offer(entry, index, flavours);
    let mut offers: Vec<Offer> = Vec::new();
    for offer in index.entries.iter().filter_map(offer) {
        // Two suites may have the same kernel; the one that comes first is the preferred one.
        if !offers.iter().any(|known| known.release == offer.release && known.version == offer.version) {
            offers.push(offer);
        }
    }
    offers
}

/// The kernel that an image package stands for, if it is one and what it needs is there.
fn offer(entry: &Entry, index: &Index, flavours: &[String]) -> Option<Offer> {
    let release = entry.package.name.strip_prefix("linux-image-")?;
    let flavour = flavour_of(release, flavours)?;
    // A metapackage: it stands for whatever image is current.
    if entry.depends.iter().any(|name| name.starts_with("linux-image-")) {
        return None;
    }
    let part = |prefix: &str| {
        let name = format!("{prefix}{release}");
        let version = &entry.package.version;
        entry.depends.contains(&name).then(|| {
            let mut entries = index.entries.iter().map(|entry| &entry.package);
            entries.find(|package| package.name == name && package.version == *version).cloned()
        })
    };
    let mut packages = match part("linux-binary-") {
        Some(binary) => vec![binary?],
        None => vec![entry.package.clone()],
    };
    // Without these it boots all the same.
    packages.extend(part("linux-base-").flatten());
    packages.extend(part("linux-modules-").flatten());
    Some(Offer { release: release.to_owned(), version: entry.package.version.clone(), flavour, packages })
}

/// The place of a release's flavour among those that will do.
fn flavour_of(release: &str, flavours: &[String]) -> Option<usize> {
    flavours.iter().position(|flavour| {
        release.strip_suffix(flavour.as_str()).and_then(|rest| rest.strip_suffix('-')).is_some_and(|rest| {
            // `rt-amd64` ends in `amd64` and is another flavour; what precedes a flavour ends in a release's last part.
            rest.rsplit('-').next().is_some_and(|part| part.contains(|c: char| c.is_ascii_digit()))
        })
    })
}

/// The newest of those that a spec names: by Debian's order of versions, then by flavour.
pub(in crate::kernel) fn newest(
    offers: &[Offer],
    spec: &Spec,
    cancel: &AtomicBool,
) -> Result<Option<Offer>, Error> {
    let mut best: Option<&Offer> = None;
    for offer in offers {
        if !spec.matches(&offer.release, &offer.version) {
            continue;
        }
        let better = match best {
            None => true,
            Some(best) => match compare(&offer.version, &best.version, cancel)? {
                Ordering::Equal => offer.flavour < best.flavour,
                order => order == Ordering::Greater,
            },
        };
        if better {
            best = Some(offer);
        }
    }
    Ok(best.cloned())
}

/// The newest few versions that are offered of what a spec names, for messages; the newest first.
pub(in crate::kernel) fn newest_versions(
    offers: &[Offer],
    spec: &Spec,
    cancel: &AtomicBool,
) -> Result<Vec<String>, Error> {
    let mut offers = offers.to_vec();
    let mut versions: Vec<String> = Vec::new();
    while versions.len() < SHOWN
        && let Some(newest) = newest(&offers, spec, cancel)?
    {
        offers.retain(|offer| offer.version != newest.version);
        versions.push(newest.version);
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::Archive;

    static NEVER: AtomicBool = AtomicBool::new(false);

    fn entry(name: &str, version: &str, depends: &[&str]) -> Entry {
        let package = Package {
            name: name.into(),
            version: version.into(),
            archive: Archive::Main,
            suite: "trixie".into(),
            path: format!("pool/{name}.deb"),
            size: 1,
            sha256: "00".repeat(32),
        };
        Entry { package, depends: depends.iter().map(|name| (*name).to_owned()).collect() }
    }

    fn flavours() -> Vec<String> {
        vec!["cloud-amd64".into(), "amd64".into()]
    }

    fn index(entries: Vec<Entry>) -> Index {
        Index { entries, ..Index::default() }
    }

    fn choose(entries: Vec<Entry>, spec: &str) -> Option<Offer> {
        newest(&offers(&index(entries), &flavours()), &spec.parse().unwrap(), &NEVER).unwrap()
    }

    fn names(offer: &Offer) -> Vec<&str> {
        offer.packages.iter().map(|package| package.name.as_str()).collect()
    }

    #[test]
    fn the_oldest_layout_is_one_package() {
        let entries = vec![entry("linux-image-5.10.0-46-cloud-amd64", "5.10.262-1", &["kmod", "linux-base"])];
        let offer = choose(entries, "5.10").unwrap();
        assert_eq!(names(&offer), ["linux-image-5.10.0-46-cloud-amd64"]);
        assert_eq!((offer.release.as_str(), offer.version.as_str()), ("5.10.0-46-cloud-amd64", "5.10.262-1"));
    }

    fn split(missing: &[&str]) -> Vec<Entry> {
        let parts = [
            "linux-binary-7.3.4-cloud-amd64",
            "linux-base-7.3.4-cloud-amd64",
            "linux-modules-7.3.4-cloud-amd64",
        ];
        let mut entries = vec![entry("linux-image-7.3.4-cloud-amd64", "7.3.4-1", &parts)];
        entries.extend(
            parts.iter().filter(|part| !missing.contains(part)).map(|part| entry(part, "7.3.4-1", &[])),
        );
        entries
    }

    #[test]
    fn the_newest_layout_is_three_packages() {
        let offer = choose(split(&[]), "7.3").unwrap();
        assert_eq!(
            names(&offer),
            [
                "linux-binary-7.3.4-cloud-amd64",
                "linux-base-7.3.4-cloud-amd64",
                "linux-modules-7.3.4-cloud-amd64"
            ]
        );
    }

    #[test]
    fn of_a_superseded_kernel_the_image_is_enough_but_needed() {
        let superseded = split(&["linux-base-7.3.4-cloud-amd64", "linux-modules-7.3.4-cloud-amd64"]);
        assert_eq!(names(&choose(superseded, "7.3").unwrap()), ["linux-binary-7.3.4-cloud-amd64"]);
        assert_eq!(choose(split(&["linux-binary-7.3.4-cloud-amd64"]), "7.3"), None);
    }

    #[test]
    fn parts_of_another_version_do_not_fit() {
        let mut entries = split(&[]);
        for entry in &mut entries[1..] {
            entry.package.version = "7.3.4-2".into();
        }
        assert_eq!(choose(entries, "7.3"), None);
    }

    #[test]
    fn the_newest_is_taken_by_debian_s_order_and_the_cloud_flavour_of_equals() {
        let entries = vec![
            entry("linux-image-6.12.117+deb12-cloud-amd64", "6.12.117-1~bpo12+1", &[]),
            entry("linux-image-6.12.117+deb13-amd64", "6.12.117-1", &[]),
            entry("linux-image-6.12.117+deb13-cloud-amd64", "6.12.117-1", &[]),
            entry("linux-image-6.12.9+deb13-cloud-amd64", "6.12.9-1", &[]),
            entry("linux-image-6.12.200-rt-amd64", "6.12.200-1", &[]),
            entry("linux-image-6.12-cloud-amd64", "6.12.201-1", &["linux-image-6.12.117+deb13-cloud-amd64"]),
            entry("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2", &[]),
        ];
        assert_eq!(choose(entries.clone(), "6.12").unwrap().release, "6.12.117+deb13-cloud-amd64");
        assert_eq!(choose(entries.clone(), "6.12.9").unwrap().version, "6.12.9-1");
        assert_eq!(choose(entries.clone(), "6.11"), None);
        let offers = offers(&index(entries), &flavours());
        let versions = newest_versions(&offers, &"6.12".parse().unwrap(), &NEVER).unwrap();
        assert_eq!(versions, ["6.12.117-1", "6.12.117-1~bpo12+1", "6.12.9-1"]);
    }

    #[test]
    fn a_release_candidate_must_be_named() {
        let entries = vec![
            entry("linux-image-7.3-rc7-cloud-amd64", "7.3~rc7-1~exp1", &[]),
            entry("linux-image-7.3-rc6-amd64", "7.3~rc6-1~exp1", &[]),
        ];
        assert_eq!(choose(entries.clone(), "7.3"), None);
        assert_eq!(choose(entries.clone(), "7.3-rc7").unwrap().version, "7.3~rc7-1~exp1");
        assert_eq!(choose(entries, "rc").unwrap().version, "7.3~rc7-1~exp1");
    }

    #[test]
    fn look_alikes_are_passed_over() {
        for name in [
            "linux-image-amd64",
            "linux-image-6.12.117+deb13-cloud-amd64-unsigned",
            "linux-image-6.1-amd64-signed-template",
            "linux-headers-6.12.117+deb13-cloud-amd64",
            "linux-binary-unsigned-7.2.11+deb13-amd64",
            "linux-base",
        ] {
            assert!(!is_kernel_package(name), "{name}");
        }
        assert!(is_kernel_package("linux-base-7.3.4+deb13-cloud-amd64"));
    }
}
