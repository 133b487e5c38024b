//! What Debian's packages of kernels have in them, and where.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::debian;
use crate::kernel::error::Error;
use crate::kernel::image::{self, Module};

/// The release of which a path in a package is a part (`vmlinuz` or `config`): `boot/PART-R`, `lib/modules/R/PART`, or the
/// latter below `usr`.
pub(super) fn release_of<'a>(path: &'a str, part: &str) -> Option<&'a str> {
    let in_boot = || path.strip_prefix("boot/")?.strip_prefix(part)?.strip_prefix('-');
    let in_modules = || {
        let below = path.strip_prefix("usr/").unwrap_or(path).strip_prefix("lib/modules/")?;
        below.strip_suffix(part)?.strip_suffix('/')
    };
    in_boot().or_else(in_modules).filter(|release| !release.contains('/'))
}

/// Reads modules out of a package, as far as it has them.
pub(super) fn modules(deb: &Path, names: &[String], cancel: &AtomicBool) -> Result<Vec<Module>, Error> {
    let mut found = Vec::new();
    debian::visit(deb, cancel, |path, content| {
        let file = path.rsplit('/').next().unwrap_or(path);
        if image::name_of(file).is_some_and(|name| names.contains(&name)) {
            found.push(image::read(file, content)?);
        }
        let done = found.len() == names.len();
        Ok::<_, Error>(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read_from_each_layout() {
        assert_eq!(release_of("boot/vmlinuz-6.12.1-amd64", "vmlinuz"), Some("6.12.1-amd64"));
        assert_eq!(release_of("usr/lib/modules/7.3.4-amd64/vmlinuz", "vmlinuz"), Some("7.3.4-amd64"));
        assert_eq!(release_of("lib/modules/7.3.4-amd64/config", "config"), Some("7.3.4-amd64"));
        for other in [
            "boot/vmlinuz",
            "boot/System.map-6.12.1",
            "lib/modules/6.1/kernel/vmlinuz",
            "usr/share/doc/vmlinuz",
        ] {
            assert_eq!(release_of(other, "vmlinuz"), None, "{other}");
        }
        assert_eq!(release_of("boot/System.map-6.12.1", "config"), None);
    }
}
