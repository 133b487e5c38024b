//! What a kernel's config says about the modules that a guest needs.

use super::error::Error;

/// What a guest needs to reach its virtio-serial port: the option, and the module that it makes.
const NEEDED: [(&str, &str); 2] =
    [("CONFIG_VIRTIO_PCI", "virtio_pci"), ("CONFIG_VIRTIO_CONSOLE", "virtio_console")];

/// The modules that a guest needs because they are not built into the kernel; their dependencies come on top.
///
/// `kernel` is for messages.
pub(in crate::kernel) fn needed_modules(config: &str, kernel: &str) -> Result<Vec<&'static str>, Error> {
    let mut modules = Vec::new();
    for (option, module) in NEEDED {
        match value(config, option) {
            Some("y") => {}
            Some("m") => modules.push(module),
            _ => return Err(Error::NotConfigured { kernel: kernel.to_owned(), option }),
        }
    }
    Ok(modules)
}

/// The modules that a guest needs, where no config says which are built in.
pub(in crate::kernel) fn all_modules() -> Vec<&'static str> {
    NEEDED.map(|(_, module)| module).to_vec()
}

/// The value of an option: `y`, `m`, a number or a string; none if it is not set.
fn value<'a>(config: &'a str, option: &str) -> Option<&'a str> {
    config.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('=').map(str::trim_end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_needed_where_the_config_says_m() {
        let config =
            "CONFIG_VIRTIO=y\nCONFIG_VIRTIO_PCI_LEGACY=y\nCONFIG_VIRTIO_PCI=m\nCONFIG_VIRTIO_CONSOLE=y\n";
        assert_eq!(needed_modules(config, "k").unwrap(), ["virtio_pci"]);
        let config = "CONFIG_VIRTIO_PCI=y\nCONFIG_VIRTIO_CONSOLE=y\n";
        assert!(needed_modules(config, "k").unwrap().is_empty());
        let config = "CONFIG_VIRTIO_CONSOLE=m\nCONFIG_VIRTIO_PCI=m\n";
        assert_eq!(needed_modules(config, "k").unwrap(), all_modules());
    }

    #[test]
    fn a_kernel_without_the_drivers_is_refused() {
        let config = "CONFIG_VIRTIO_PCI_LEGACY=y\nCONFIG_VIRTIO_PCI=y\n# CONFIG_VIRTIO_CONSOLE is not set\n";
        let message = needed_modules(config, "6.12.1").unwrap_err().to_string();
        assert!(message.contains("6.12.1") && message.contains("CONFIG_VIRTIO_CONSOLE"), "{message}");
    }
}
