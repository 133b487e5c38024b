//! The whole command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hooklab_vm::accel::Choice;
use hooklab_vm::kernel::{Selector, Spec};

pub(crate) use crate::options::{KernelOptions, Language, ProgramOptions, SetupOptions};
use crate::shard::Shard;

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

/// Kernels, with an error that reads well after clap's own words.
fn kernels(text: &str) -> Result<Selector, String> {
    text.parse().map_err(|error| format!("failed to {error}"))
}

/// One kernel.
fn spec(text: &str) -> Result<Spec, String> {
    match kernels(text)? {
        Selector::One(spec) => Ok(spec),
        several => Err(format!("`{several}` means several kernels: name one")),
    }
}

/// A PID, or the word for one that is not known yet.
fn pid(text: &str) -> Result<String, String> {
    let is_pid = text.parse::<i32>().is_ok_and(|pid| pid > 0);
    if is_pid || text == "writer" {
        Ok(text.to_owned())
    } else {
        Err("it is neither a PID nor \"writer\"".into())
    }
}

/// Boot kernels and run the guest tests on them
///
/// Without --kernel or --all: one long-term series and the newest one.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  cargo xtask vm-test                              the default kernels, every test
  cargo xtask vm-test -k 5.10 -k 6.12              these two series
  cargo xtask vm-test -k lts -k \">=7.1\"            the long-term ones and those from 7.1 on
  cargo xtask vm-test -k ~/linux/arch/x86/boot/bzImage -l aya filter
                                                   aya's filter tests on a kernel of your own
  sudo -E env PATH=\"$PATH\" cargo xtask vm-test -k host
                                                   on the running kernel, without a machine
  cargo xtask vm-test --all --json out.json --junit out.xml")]
pub(crate) struct VmTest {
    /// Run only tests whose name contains one of these
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
    /// A kernel: a series (6.12), an exact release (6.12.117), "rc", a path to a vmlinuz or bzImage, a kernel
    /// build tree, or "host" (the running kernel); or several: "lts", "newest", a range (">=6.1, <7"); may be
    /// repeated
    #[arg(short, long = "kernel", value_name = "SPEC", value_parser = kernels, conflicts_with = "all")]
    pub(crate) kernels: Vec<Selector>,
    /// Every kernel in vm/kernels.toml
    #[arg(long)]
    pub(crate) all: bool,
    /// Only the I-th of N parts of these kernels, the same however they are ordered
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Only tests of this loader, leaving out those that are not one loader's own; may be repeated
    #[arg(short, long = "loader", value_name = "NAME")]
    pub(crate) loaders: Vec<String>,
    /// Run the tests of this static libtest binary instead of the lab's own
    #[arg(long, value_name = "PATH", conflicts_with = "bless")]
    pub(crate) binary: Option<PathBuf>,
    /// Machines at a time; where there are fewer kernels, several share a kernel's tests [default: as many as there
    /// are processors, if there is memory for them]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: Option<u16>,
    /// Boot every machine: neither resume saved ones nor save any
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Run each test on a pristine machine of its own
    #[arg(long)]
    pub(crate) isolate: bool,
    /// What runs the guest's instructions: auto, kvm or tcg
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) accel: Choice,
    /// Time limit for one test
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
    /// Time limit for a guest to come up
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) boot_timeout: u64,
    /// Stop at the first test that does not pass
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Run a test that does not pass again, up to this many times, each on a fresh machine; one that passes then is
    /// reported as flaky
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u8).range(..=99))]
    pub(crate) retries: u8,
    /// Accept what the tests saw as their new snapshots
    #[arg(long)]
    pub(crate) bless: bool,
    /// Do not compare the kernel after each test with what it was before; to measure what that costs
    #[arg(long, hide = true)]
    pub(crate) no_checks: bool,
    /// List the tests that would run, and stop
    #[arg(long)]
    pub(crate) list: bool,
    /// Show also what each kernel can do, and what it made of the programs
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Write the results to this file as JSON
    #[arg(long, value_name = "PATH")]
    pub(crate) json: Option<PathBuf>,
    /// Write the results to this file as JUnit XML
    #[arg(long, value_name = "PATH")]
    pub(crate) junit: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) programs: ProgramOptions,
    #[command(flatten)]
    pub(crate) kernel_options: KernelOptions,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
}

/// Run one program in guests, and show what it prints
///
/// Two processes in the guest write: the first one three times, the other one twice.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask run -k 6.12 target/tutorial/package.json
                                                   with eunomia's engine, as `ecli run package.json` does
  cargo xtask run -k 6.12 --pid-filter writer target/tutorial/package.json
                                                   the same for one process alone
  cargo xtask run -k 5.10 -k newest -l libbpf target/tutorial/minimal.bpf.o
                                                   an object, on two kernels")]
pub(crate) struct Run {
    /// A package.json, or a compiled object, with tracepoint programs
    #[arg(value_name = "PROGRAM")]
    pub(crate) program: PathBuf,
    /// A kernel, or several, as for vm-test; may be repeated. The first of vm-test's own without it
    #[arg(short, long = "kernel", value_name = "SPEC", value_parser = kernels)]
    pub(crate) kernels: Vec<Selector>,
    /// What loads it: aya, libbpf, or for packages eunomia. Without it eunomia for a package, libbpf for an object
    #[arg(short, long, value_name = "NAME", value_parser = ["aya", "libbpf", "eunomia"], hide_possible_values = true)]
    pub(crate) loader: Option<String>,
    /// Set the program's `pid_filter`: to a PID, or to that of the first of the two that write
    #[arg(long, value_name = "PID|writer", value_parser = pid)]
    pub(crate) pid_filter: Option<String>,
    /// What runs the guest's instructions: auto, kvm or tcg
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) accel: Choice,
    #[command(flatten)]
    pub(crate) kernel_options: KernelOptions,
    #[command(flatten)]
    pub(crate) setup: SetupOptions,
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

/// List, pin, fetch and remove kernels
#[derive(Debug, Args)]
pub(crate) struct Kernels {
    #[command(subcommand)]
    pub(crate) command: KernelsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KernelsCommand {
    /// Show each supported kernel, what it is pinned to, and whether that is in the cache
    List {
        /// A table for a person, or JSON on one line, as the matrix of a CI wants it
        #[arg(long, value_name = "NAME", default_value = "text")]
        format: ListFormat,
    },
    /// Pin every kernel to the newest version that the mirror offers, in vm/kernels.lock
    Lock {
        /// Write nothing: say which pins are behind or gone, and exit with 1 if any is
        #[arg(long)]
        check: bool,
        /// Only these (a series, "rc", "lts", "newest", a range); may be repeated
        #[arg(long, value_name = "SPEC", value_parser = kernels)]
        series: Vec<Selector>,
        #[command(flatten)]
        options: KernelOptions,
    },
    /// Fill the cache
    Fetch {
        /// Series, releases, words or ranges, as vm-test takes them; all in vm/kernels.toml if none is given
        #[arg(value_name = "SPEC", value_parser = kernels)]
        kernels: Vec<Selector>,
        #[command(flatten)]
        options: KernelOptions,
    },
    /// Remove from the cache what vm/kernels.lock does not name
    Prune,
    /// Put what a report says of the kernels into docs/kernels.md
    Doc {
        /// A report that `vm-test --all one_pid --json` wrote
        #[arg(value_name = "PATH")]
        report: PathBuf,
        /// Write nothing: exit with 1 if the page says something else
        #[arg(long)]
        check: bool,
    },
}

/// How `kernels list` shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    Text,
    Json,
}

/// Work with the JSON reports of vm-test
#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(subcommand)]
    pub(crate) command: ReportCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// Join the reports of several runs into one, and show and judge it as vm-test would
    Merge(Merge),
}

/// Join the reports of several runs into one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask report merge 1.json 2.json --json all.json
  cargo xtask report merge --all --format markdown results/*.json >> $GITHUB_STEP_SUMMARY")]
pub(crate) struct Merge {
    /// Reports that `vm-test --json` wrote, of different kernels
    #[arg(value_name = "PATH", required = true)]
    pub(crate) reports: Vec<PathBuf>,
    /// Expect every kernel in vm/kernels.toml: one without a report is an error of the lab
    #[arg(long)]
    pub(crate) all: bool,
    /// How to show it
    #[arg(long, value_name = "NAME", default_value = "text")]
    pub(crate) format: ReportFormat,
    /// Write the joined results to this file as JSON
    #[arg(long, value_name = "PATH")]
    pub(crate) json: Option<PathBuf>,
    /// Write the joined results to this file as JUnit XML
    #[arg(long, value_name = "PATH")]
    pub(crate) junit: Option<PathBuf>,
}

/// How `report merge` shows the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    Text,
    Markdown,
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
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
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
