//! The whole command line; commands with much to say are in files of their own.

mod kernels;
mod options;
mod report;
mod run;
mod values;
mod vm_test;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hooklab_vm::accel::Choice;
use hooklab_vm::kernel::{Selector, Spec};

use self::values::{kernels, spec};

pub(crate) use self::kernels::{Kernels, KernelsCommand, ListFormat};
pub(crate) use self::options::{EcliOptions, KernelOptions, Language, ProgramOptions, SetupOptions};
pub(crate) use self::report::{Merge, Report, ReportCommand, ReportFormat};
pub(crate) use self::run::Run;
pub(crate) use self::vm_test::VmTest;

/// Runs eBPF programs that hook system calls on real kernels, in QEMU, without root.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    all is well
  1    a test failed, a check found fault, or a program cannot be packaged
  2    the command line is wrong
  3    the lab could not do its job: no such kernel, no QEMU, a guest that never came up
  130  interrupted

Environment:
  HOOKLAB_CACHE            folder for kernels, tools and saved machines; your cache folder's hooklab/ without it
  HOOKLAB_ECLI             what --ecli says, where it is not given
  HOOKLAB_SAVED_MIB        most room for saved machines, in MiB; 4096 without it
  HOOKLAB_MIRROR           a Debian mirror, where the host's own apt sources name none
  HOOKLAB_SECURITY_MIRROR  its security archive, if not at the same URL with -security appended
  NO_COLOR                 no colours";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Boot kernels and run the guest tests on them; sets up and builds what is missing
    VmTest(VmTest),
    /// Run one program in guests, and show what it prints
    Run(Run),
    /// Run every test of the repository: unit tests, command line, and vm-test on the default kernels
    Test(Test),
    /// Install what is missing; vm-test and test do this by themselves
    Setup(Setup),
    /// Build the eBPF objects, the loaders, the agent and the guest tests
    Build(Build),
    /// Compile a program and pack it, as `ecc` does: NAME.bpf.o, NAME.skel.json and package.json
    Package(Package),
    /// List, pin, fetch and remove kernels
    Kernels(Kernels),
    /// Open a shell on a kernel, with the host's files read-only
    Shell(Shell),
    /// Measure the lab against plain virtme-ng, as ratios within one run
    Bench(Bench),
    /// Run tests over and over with faults that chance chooses
    Soak(Soak),
    /// Work with the JSON reports of vm-test
    Report(Report),
}

/// Run every test of the repository
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  All there are:                                  cargo xtask test
  Only what happens to runs that are interfered with:  cargo xtask test faults

What needs no guest runs by plain `cargo test`, once `cargo xtask setup` has run.")]
pub(crate) struct Test {
    /// Only these of the suites, each once, in the order in which they are listed here
    #[arg(value_name = "SUITE")]
    pub(crate) suites: Vec<Suite>,
    #[command(flatten)]
    pub(crate) programs: ProgramOptions,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
}

/// A part of the repository's tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// What needs no guest
    Host,
    /// vm-test on the default kernels
    Guest,
    /// The command line, mostly with real guests
    Cli,
    /// Faults, caused for real: in guests, in QEMU, on the way from the mirror, in the cache
    Faults,
}

/// Run tests over and over with faults that chance chooses
#[derive(Debug, Args)]
#[command(after_help = "\
Each round runs some tests on some kernels. In half of the rounds something goes wrong: QEMU is killed or stopped, the run is interrupted or killed, a saved machine is damaged. A wrong verdict, and whatever a round leaves behind, is told and ends in exit code 1.

Examples:
  An hour:               cargo xtask soak --minutes 60
  The same rounds again:  cargo xtask soak --seed 1795371720")]
pub(crate) struct Soak {
    /// How long to go on
    #[arg(short, long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) minutes: u64,
    /// What chance begins with [default: the time]
    #[arg(short, long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) programs: ProgramOptions,
    #[command(flatten)]
    pub(crate) kernel_options: KernelOptions,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
}

/// Install what is missing
#[derive(Debug, Args)]
#[command(after_help = "\
Debian packages come by apt-get, as root or by password-less sudo; virtme-ng goes into a private virtual environment in the cache folder. For the program in Rust, bpf-linker is built in the cache folder, once, and rustup adds its component rust-src or, where it cannot, Debian's package of that name is unpacked there. Nothing else on the system is touched.")]
pub(crate) struct Setup {
    #[command(flatten)]
    pub(crate) programs: ProgramOptions,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
}

/// Build the eBPF objects, the loaders, the agent and the guest tests
#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) programs: ProgramOptions,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
}

/// Compile a program and pack it, as `ecc` does
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask package minimal.bpf.c                writes minimal.bpf.o, minimal.skel.json and package.json beside it
  cargo xtask package exec.bpf.c exec.h -o out     describes the structs of exec.h, too, for readers of events")]
pub(crate) struct Package {
    /// A program in C; what its name has before the first dot names the files
    #[arg(value_name = "SOURCE.bpf.c")]
    pub(crate) source: PathBuf,
    /// The header with the structs that the program sends; SOURCE.h beside the source, if it is there
    #[arg(value_name = "EVENT_HEADER")]
    pub(crate) header: Option<PathBuf>,
    /// Where the files go; the source's folder without it
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Look for headers here, too; may be repeated
    #[arg(short = 'I', long, value_name = "DIR")]
    pub(crate) include: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
}

/// Open a shell on a kernel, with the host's files read-only
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask shell -k 6.12
  cargo xtask shell -k 7.3 -- uname -r             one command instead of a shell

This is plain virtme-ng. It needs a kernel with virtiofs or 9p built in: of Debian's cloud kernels, those from 6.12 on. The host's files come by virtiofs: the first use builds virtiofsd, in the cache folder, unless the system has it.")]
pub(crate) struct Shell {
    /// A kernel: a series, an exact release, "rc", a path, or a build tree; of several ("lts", "newest", a range) the
    /// last
    #[arg(short, long, value_name = "SPEC", value_parser = kernels)]
    pub(crate) kernel: Selector,
    /// A command to run instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    /// What runs the guest's instructions: auto, kvm or tcg
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) accel: Choice,
    #[command(flatten)]
    pub(crate) kernel_options: KernelOptions,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
}

/// Measure the lab against plain virtme-ng, as ratios within one run
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// The kernel to measure with
    #[arg(short, long, value_name = "SPEC", default_value = "6.12", value_parser = spec)]
    pub(crate) kernel: Spec,
    /// How often each is run, alternating; medians are reported
    #[arg(short, long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) runs: u16,
    #[command(flatten)]
    pub(crate) kernel_options: KernelOptions,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_documentation_names_only_commands_that_there_are() {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
        let root = Path::new(&package).parent().unwrap();
        let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
        let pages = docs.chain(["README.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
        let mut found = 0;
        for page in pages.filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
            for line in fs::read_to_string(&page).unwrap().lines() {
                let Some(words) = line.trim_start_matches("$ ").strip_prefix("cargo xtask ") else {
                    continue;
                };
                let words = shell_words::split(words.split(" #").next().unwrap_or_default()).unwrap();
                let parsed = Cli::try_parse_from(["cargo xtask".to_owned()].into_iter().chain(words));
                assert!(parsed.is_ok(), "{}: {line}: {}", page.display(), parsed.unwrap_err());
                found += 1;
            }
        }
        assert!(found > 5, "only {found} commands found");
    }
}
