//! Debian packages: which are missing, and how they are installed.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result, bail};
use hooklab_vm::event::{Event, Observer};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use xshell::{Shell, cmd};

use super::Purpose;
use super::programs::{QEMU, find_program, library, output, run};
use crate::lab::{Lab, Need};
use crate::options::SetupOptions;

/// What it takes to compile eBPF programs.
const COMPILE: &[Need] = &[Need { package: "clang", is_there: |_| find_program("clang").is_some() }];

/// What it takes to boot kernels.
const RUN: &[Need] = &[
    Need { package: "qemu-system-x86", is_there: |_| find_program(QEMU).is_some() },
    Need { package: "python3-venv", is_there: has_virtme_or_python },
    Need {
        package: "debian-archive-keyring",
        is_there: |_| Path::new("/usr/share/keyrings/debian-archive-keyring.gpg").exists(),
    },
    // virtme-ng asks it for a kernel's release.
    Need { package: "file", is_there: |_| find_program("file").is_some() },
    Need { package: "kmod", is_there: |_| find_program("depmod").is_some() },
    // On a host that is not Debian this names Debian's mirror.
    Need { package: "python-apt-common", is_there: |_| knows_a_mirror() },
];

/// What it takes to share the host's files with a guest.
const SHELL: &[Need] = &[
    // virtme-ng's guest finds its ports, and with them a command's exit code, only by the host's udev.
    Need { package: "udev", is_there: |_| find_program("udevadm").is_some() },
    Need { package: "busybox-static", is_there: |_| find_program("busybox").is_some() },
    Need { package: "libcap-ng-dev", is_there: |_| has_virtiofsd_or("libcap-ng.so") },
    Need { package: "libseccomp-dev", is_there: |_| has_virtiofsd_or("libseccomp.so") },
];

impl Purpose {
    fn needs(self) -> &'static [&'static [Need]] {
        match self {
            Purpose::Compile => &[COMPILE],
            Purpose::Run => &[RUN],
            Purpose::Shell => &[RUN, SHELL],
        }
    }
}

/// A shim of a version manager's takes a tenth of a second to say what its Python can do.
fn has_virtme_or_python(lab: &Lab) -> bool {
    super::virtme::is_there(lab) || super::virtme::python().is_some()
}

fn has_virtiofsd_or(name: &str) -> bool {
    super::virtiofsd::installed() || library(name).is_some()
}

/// Debian's own sources name a mirror of Debian's; elsewhere a file of python-apt's does.
fn knows_a_mirror() -> bool {
    let is_debian = || {
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        release.lines().any(|line| line == "ID=debian")
    };
    is_debian() || Path::new("/usr/share/python-apt/templates/Debian.info").exists()
}

/// Installs what is missing for `purposes`.
pub(super) fn ensure(
    lab: &Lab,
    purposes: &[Purpose],
    options: &SetupOptions,
    observer: &dyn Observer,
) -> Result<()> {
    let missing = missing(lab, purposes);
    if missing.is_empty() {
        return Ok(());
    }
    let command = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    if find_program("apt-get").is_none() {
        bail!(
            "these Debian packages, or what they are called here, are missing: {}. This host has no apt-get: install \
             them its own way",
            missing.join(" ")
        );
    }
    let by_hand = format!("run: sudo apt-get update && sudo {command}");
    if options.no_install {
        bail!("something is missing; {by_hand}");
    }
    let prefix = match privilege() {
        Some(prefix) => prefix,
        None => {
            bail!("something is missing, and installing it needs root or sudo without a password; {by_hand}")
        }
    };
    if !may_install(lab, options, &missing)? {
        bail!("something is missing; with --yes it is installed, or {by_hand}");
    }
    install(prefix, &missing, observer).with_context(|| by_hand)?;
    // Believing apt-get would only move the failure to where it cannot be understood.
    let still = self::missing(lab, purposes);
    if !still.is_empty() {
        bail!("{} installed without an error, but what they bring is still not found", still.join(" "));
    }
    Ok(())
}

fn missing(lab: &Lab, purposes: &[Purpose]) -> Vec<&'static str> {
    let own = purposes.iter().flat_map(|purpose| purpose.needs()).copied();
    let needs = own.chain([lab.guest_half.needs()]).flatten();
    needs.filter(|need| !(need.is_there)(lab)).map(|need| need.package).collect()
}

/// What to put before a command that needs root: nothing, or sudo; `None` where there is no way.
fn privilege() -> Option<&'static [&'static str]> {
    if nix::unistd::Uid::effective().is_root() {
        return Some(&[]);
    }
    output("sudo", &["-n", "true"]).map(|_| &["sudo", "-n"] as &[&str])
}

fn may_install(lab: &Lab, options: &SetupOptions, missing: &[&str]) -> Result<bool> {
    if options.yes || std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false") {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        // Nobody to ask; --yes would have said so.
        return Ok(false);
    }
    err!("These Debian packages are missing and will be installed: {}", missing.join(" "));
    err!("Go on? [Y/n]");
    wait_for_answer(lab)?;
    let mut answer = String::new();
    // An end of input is no answer.
    let length = std::io::stdin().read_line(&mut answer)?;
    Ok(length > 0 && matches!(answer.trim(), "" | "y" | "Y" | "yes"))
}

/// Waits until there is something to read. Reading goes on after a signal; waiting does not (signal(7)).
fn wait_for_answer(lab: &Lab) -> Result<()> {
    let stdin = std::io::stdin();
    loop {
        lab.check_interrupt()?;
        match poll(&mut [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn install(prefix: &[&str], packages: &[&str], observer: &dyn Observer) -> Result<()> {
    observer.notify(Event::Step(format!("installing {}", packages.join(" "))));
    let shell = Shell::new()?;
    let quietly = "DEBIAN_FRONTEND=noninteractive";
    run(cmd!(shell, "env {prefix...} env {quietly} apt-get update -q"))?;
    // Others that install, such as unattended-upgrades, are waited for.
    run(cmd!(
        shell,
        "env {prefix...} env {quietly} apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300
            {packages...}"
    ))
}
