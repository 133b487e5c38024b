//! Boots Linux kernels in QEMU and runs test binaries in them.
//!
//! [`kernel`] finds and fetches kernels, [`qemu`] makes the command line of a machine, [`machine`] drives it, [`saved`]
//! keeps its state so that it need not boot again, and [`runner`] runs tests in machines. A guest has nothing of the host
//! but a [`payload`]; its PID 1 is the program `hooklab-agent`, which runs each test in a process of its own and
//! checks what the test did to the kernel. All modules report through [`event`]; none of them prints, and none knows
//! eBPF or a command line.
//!
//! This runs every test of a libtest binary on Linux 6.12, and prints what happens:
//!
//! ```no_run
//! use std::path::{Path, PathBuf};
//! use std::time::Duration;
//!
//! use hooklab_vm::event::Event;
//! use hooklab_vm::kernel::{Document, Kernels, Options, Source, Spec};
//! use hooklab_vm::machine::Plan;
//! use hooklab_vm::payload::Builder;
//! use hooklab_vm::qemu::accelerator::Accelerator;
//! use hooklab_vm::qemu::command_line::{CommandLine, Tools};
//! use hooklab_vm::runner::{self, Campaign, Isolation, Job};
//! use hooklab_vm::{TestId, binary};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let (cache, agent) = (Path::new("cache"), Path::new("hooklab-agent"));
//!     let print = |event: Event| println!("{event:?}");
//!
//!     // The kernel: from the cache, or from Debian.
//!     let [catalog, pins] = ["kernels.toml", "kernels.lock"].map(|path| Document::File(path.into()));
//!     let kernels = Kernels::open(&catalog, &pins, cache, Options::default())?;
//!     let spec: Spec = "6.12".parse()?;
//!     let kernel = kernels.obtain(&spec, &print)?;
//!     let Source::Image { image, modules, .. } = &kernel.source else { return Err("no image".into()) };
//!
//!     // The machine: virtme-ng's command line of QEMU, adapted.
//!     let tools = Tools {
//!         vng: PathBuf::from("venv/bin/vng"),
//!         vng_version: "1.42".into(),
//!         qemu: PathBuf::from("/usr/bin/qemu-system-x86_64"),
//!         qemu_version: "QEMU emulator version 7.2.0".into(),
//!         sandbox: true,
//!     };
//!     let command_line = CommandLine::from_virtme_ng(&tools, image, &kernel.id, Accelerator::Tcg, cache)?;
//!     let plan = Plan::Boot { command_line: &command_line, agent, modules };
//!
//!     // The tests, and what they need in the guest.
//!     let program = Path::new("target/debug/deps/mine");
//!     let tests = binary::list(program)?.into_iter();
//!     let mut archive = Builder::default();
//!     archive.add_program("mine", program)?;
//!     let payload = archive.finish()?;
//!
//!     let campaign = Campaign {
//!         payload: &payload.archive,
//!         tests: tests.map(|test| TestId { binary: "mine".into(), name: test.name }).collect(),
//!         needs: Default::default(),
//!         whole: Default::default(),
//!         env: vec![payload.environment()],
//!         collect: None,
//!         check: true,
//!         stream: false,
//!         timeout: Duration::from_secs(30),
//!         boot_timeout: Duration::from_secs(60),
//!         retries: 0,
//!         machines: 1,
//!         isolation: Isolation::Shared,
//!         saved: None,
//!         fail_fast: false,
//!         cancelled: Default::default(),
//!     };
//!     let job = Job { spec: spec.to_string(), plan, log: PathBuf::from("6.12.log") };
//!     runner::run(&campaign, vec![job], &print);
//!     Ok(())
//! }
//! ```

pub mod arch;
pub mod binary;
mod cache;
pub mod debian;
pub mod event;
pub mod host;
pub mod kernel;
pub mod linked;
pub mod machine;
pub mod payload;
pub mod qemu;
pub mod runner;
pub mod saved;

pub use hooklab_types::test::TestId;
