//! `hooklab shell`: plain virtme-ng on one of our kernels.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use hooklab_vm::kernel::{Selector, Source, Spec};
use hooklab_vm::qemu::accelerator::Accelerator;
use hooklab_vm::qemu::command_line::Tools;

use crate::exit::{Exit, UsageError};
use crate::kernels::{self, failed_to};
use crate::lab::Lab;
use crate::options::MachineOptions;
use crate::setup::{self, Purpose};
use crate::{guests, report, values};

/// Open a shell on a kernel, with the host's files read-only
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hooklab shell -k 6.12
  hooklab shell -k 7.3 -- uname -r             one command instead of a shell

This is plain virtme-ng. It needs a kernel with virtiofs or 9p built in: of Debian's cloud kernels, those from 6.12 on. The host's files come by virtiofs: the first use builds virtiofsd, in the cache directory, unless the system has it.")]
pub struct Shell {
    /// A kernel: a series, an exact release, "rc", a path, or a build tree; of several ("lts", "newest", a range) the
    /// last
    #[arg(short, long, value_name = "SPEC", value_parser = values::kernels)]
    kernel: Selector,
    /// A command to run instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    #[command(flatten)]
    machine: MachineOptions,
}

impl Shell {
    /// Becomes virtme-ng.
    pub fn run(&self, lab: &Lab) -> Result<Exit> {
        if self.kernel == Selector::One(Spec::Host) {
            return Err(UsageError("the running kernel has a shell already: yours".into()).into());
        }
        let kernels = kernels::open(lab, &self.machine.kernels)?;
        let spec =
            kernels.select(&self.kernel).map_err(failed_to)?.pop().context("failed to find a kernel")?;
        kernels.resolve(&spec).map_err(failed_to)?;
        let live = report::steps();
        let observer = live.as_ref();
        setup::ensure(lab, &[Purpose::Shell], &self.machine.setup, observer)?;
        let kernel = kernels.obtain(&spec, observer).map_err(failed_to)?;
        let Source::Image { image, config, .. } = &kernel.source else {
            return Err(UsageError("the running kernel has a shell already: yours".into()).into());
        };
        check_shares(config.as_deref(), &kernel.release)?;
        let tools = setup::tools(lab)?;
        let agent = lab.guest_half.programs(lab, observer)?.agent;
        let accelerator = guests::settle(lab, self.machine.accel, &tools, &kernel, &agent, observer)?;
        drop(live);
        let mut command = virtme(lab, &tools, image, accelerator);
        if !self.command.is_empty() {
            command.arg("--exec").arg(shell_words(&self.command));
        }
        Err(command.exec()).context("failed to run virtme-ng")
    }
}

/// virtme-ng on `image`, its own way: the host's files read-only, by virtiofs.
pub fn virtme(lab: &Lab, tools: &Tools, image: &Path, accelerator: Accelerator) -> Command {
    let directories = [tools.vng.parent().map(Path::to_owned), setup::virtiofsd_directory(lab)];
    let path = directories.into_iter().flatten().map(|directory| directory.display().to_string());
    let path: Vec<String> = path.chain(std::env::var("PATH").ok()).collect();
    let mut command = Command::new(&tools.vng);
    command.env("PATH", path.join(":")).arg("--run").arg(image);
    if accelerator == Accelerator::Tcg {
        // With more vCPUs, threads of TCG race with the kernel's own code patching.
        command.args(["--disable-kvm", "--cpus", "1"]);
    }
    command
}

/// The cache keeps no modules for sharing files: a kernel that needs one could not reach its root.
fn check_shares(config: Option<&Path>, release: &str) -> Result<()> {
    let Some(text) = config.and_then(|path| fs::read_to_string(path).ok()) else { return Ok(()) };
    let built_in = |option: &str| text.lines().any(|line| line == format!("{option}=y"));
    if built_in("CONFIG_VIRTIO_FS") || built_in("CONFIG_9P_FS") {
        return Ok(());
    }
    bail!(
        "failed to give {release} a root: it has virtiofs and 9p as modules only. Series from 6.12 on have virtiofs \
         built in"
    )
}

fn shell_words(words: &[String]) -> String {
    words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect::<Vec<_>>().join(" ")
}
