//! Loading and attaching a program by aya, whatever its kind.

use std::fs::File;
use std::os::fd::OwnedFd;

use aya::Btf;
use aya::programs::perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent};
use aya::programs::uprobe::{UProbeAttachLocation, UProbeScope};
use aya::programs::{
    CgroupAttachMode, CgroupSkbAttachType, Iter, KProbe, PerfEvent, Program as Loaded, ProgramError,
    ProgramInfo, SocketFilter, TcAttachType, UProbe, XdpMode,
};

use super::{library_error, load_error, sections};
use crate::place::{self, not_attachable};
use crate::{Error, HookKind, Place, Program};

/// aya hands this to the kernel with a link, too, and links take no flags: a link shares its hook with others anyway.
const MODE: CgroupAttachMode = CgroupAttachMode::Single;

/// What the programs of an object need.
pub(super) struct Attaching<'a> {
    pub(super) place: &'a Place,
    /// The kernel's types, once a program needs them: reading them takes long.
    pub(super) btf: Option<Btf>,
    /// The id of the program that was loaded last, if the kernel told it.
    pub(super) id: Option<u32>,
}

/// What there is of a program besides its link.
pub(super) enum Extra {
    None,
    Iterator(File),
    Socket(OwnedFd),
}

/// Which of a program's two steps failed.
enum Failed {
    Loading(ProgramError),
    Attaching(ProgramError),
    Other(Error),
}

type Step = Result<Extra, Failed>;

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Loads a program without arguments, and attaches it with these.
macro_rules! load_and_attach {
    ($attaching:expr, $program:expr, $($argument:expr),*) => {{
        $program.load().map_err(Failed::Loading)?;
        $attaching.note($program.info());
        $program.attach($($argument),*).map(drop).map_err(Failed::Attaching)?;
        Ok(Extra::None)
    }};
}

/// Loads a program for a function or a type of the kernel, and attaches it.
macro_rules! load_for {
    ($attaching:expr, $program:expr, $hook:expr) => {{
        $program.load(&$hook.target, $attaching.btf()?).map_err(Failed::Loading)?;
        $attaching.note($program.info());
        $program.attach().map(drop).map_err(Failed::Attaching)?;
        Ok(Extra::None)
    }};
}

impl Attaching<'_> {
    /// Loads and attaches one program.
    pub(super) fn attach(&mut self, loaded: &mut Loaded, program: &Program) -> Result<Extra, Error> {
        self.step(loaded, program).map_err(|failed| match failed {
            Failed::Loading(error) => load_error(&program.name, error),
            Failed::Attaching(error) => library_error("attach", program, &error),
            Failed::Other(error) => error,
        })
    }

    fn step(&mut self, loaded: &mut Loaded, program: &Program) -> Step {
        let (hook, place) = (&program.hook, self.place);
        let cgroup = || place::cgroup(program, place);
        match loaded {
            Loaded::TracePoint(loaded) => {
                let none = || not_attachable(program, "its section names no tracepoint");
                let (category, event) = hook.tracepoint().ok_or_else(none)?;
                load_and_attach!(self, loaded, category, event)
            }
            Loaded::RawTracePoint(loaded) => load_and_attach!(self, loaded, &hook.target),
            Loaded::KProbe(loaded) => self.kprobe(loaded, program),
            Loaded::UProbe(loaded) => self.uprobe(loaded, program),
            Loaded::PerfEvent(loaded) => self.clocks(loaded),
            Loaded::BtfTracePoint(loaded) => load_for!(self, loaded, hook),
            Loaded::FEntry(loaded) => load_for!(self, loaded, hook),
            Loaded::FExit(loaded) => load_for!(self, loaded, hook),
            Loaded::Lsm(loaded) => load_for!(self, loaded, hook),
            Loaded::LsmCgroup(loaded) => {
                loaded.load(&hook.target, self.btf()?).map_err(Failed::Loading)?;
                loaded.attach(cgroup()?).map_err(Failed::Attaching)?;
                Ok(Extra::None)
            }
            Loaded::Iter(loaded) => self.iterator(loaded, program),
            Loaded::Xdp(loaded) => load_and_attach!(self, loaded, &place.interface, XdpMode::default()),
            Loaded::SchedClassifier(loaded) => {
                let direction = if hook.is_egress() { TcAttachType::Egress } else { TcAttachType::Ingress };
                load_and_attach!(self, loaded, &place.interface, direction)
            }
            Loaded::SocketFilter(loaded) => self.socket(loaded, program),
            Loaded::CgroupSkb(loaded) => {
                let egress = hook.is_egress();
                let direction =
                    if egress { CgroupSkbAttachType::Egress } else { CgroupSkbAttachType::Ingress };
                load_and_attach!(self, loaded, cgroup()?, direction, MODE)
            }
            Loaded::CgroupSock(loaded) => load_and_attach!(self, loaded, cgroup()?, MODE),
            Loaded::CgroupSockAddr(loaded) => load_and_attach!(self, loaded, cgroup()?, MODE),
            Loaded::CgroupSockopt(loaded) => load_and_attach!(self, loaded, cgroup()?, MODE),
            Loaded::CgroupSysctl(loaded) => load_and_attach!(self, loaded, cgroup()?, MODE),
            Loaded::CgroupDevice(loaded) => load_and_attach!(self, loaded, cgroup()?, MODE),
            Loaded::SockOps(loaded) => load_and_attach!(self, loaded, cgroup()?, MODE),
            Loaded::SkLookup(loaded) => {
                let namespace = File::open("/proc/self/ns/net")
                    .map_err(|source| Error::System { what: "open the network namespace", source })?;
                load_and_attach!(self, loaded, namespace)
            }
            _ => Err(not_attachable(program, "hooklab does not attach such a program by aya").into()),
        }
    }

    /// The kernel's types.
    fn btf(&mut self) -> Result<&Btf, Failed> {
        if self.btf.is_none() {
            let read = Btf::from_sys_fs();
            let failed = |error| Error::library(super::KIND, "read the kernel's BTF", &error);
            self.btf = Some(read.map_err(failed)?);
        }
        // It was set just now, if it was not before.
        self.btf.as_ref().ok_or(Failed::Attaching(ProgramError::NotLoaded))
    }

    /// Attaches to a function of a file: both are the section's, or the file is the user's.
    fn uprobe(&mut self, loaded: &mut UProbe, program: &Program) -> Step {
        let (file, function) = program.hook.file_and_function();
        let file = match file {
            Some(file) => file.as_ref(),
            None => place::probed_file(program, self.place)?,
        };
        let (function, offset) = with_offset(function.unwrap_or(&program.name));
        let location = UProbeAttachLocation::SymbolOffset(function, offset);
        load_and_attach!(self, loaded, location, file, UProbeScope::AllProcesses)
    }

    /// Keeps the id of a program before it is attached: it may be one that forbids to ask.
    fn note(&mut self, info: Result<ProgramInfo, ProgramError>) {
        self.id = info.ok().map(|info| info.id());
    }

    /// Attaches to a function of the kernel, or to that of a system call.
    fn kprobe(&mut self, loaded: &mut KProbe, program: &Program) -> Step {
        let hook = &program.hook;
        if hook.target.is_empty() {
            return Err(not_attachable(program, "its section names no function").into());
        }
        if matches!(hook.kind, HookKind::Ksyscall | HookKind::Kretsyscall) {
            return load_and_attach!(self, loaded, sections::syscall(&hook.target), 0);
        }
        let (function, offset) = with_offset(&hook.target);
        load_and_attach!(self, loaded, function, offset)
    }

    /// Attaches to a clock of every CPU.
    fn clocks(&mut self, loaded: &mut PerfEvent) -> Step {
        let cpus = place::online_cpus().map_err(|source| Error::System { what: "list the CPUs", source })?;
        loaded.load().map_err(Failed::Loading)?;
        self.note(loaded.info());
        for cpu in cpus.into_iter().filter_map(|cpu| u32::try_from(cpu).ok()) {
            let clock = PerfEventConfig::Software(SoftwareEvent::CpuClock);
            let scope = PerfEventScope::AllProcessesOneCpu { cpu };
            let policy = SamplePolicy::Frequency(place::FREQUENCY);
            loaded.attach(clock, scope, policy, false).map_err(Failed::Attaching)?;
        }
        Ok(Extra::None)
    }

    fn iterator(&mut self, loaded: &mut Iter, program: &Program) -> Step {
        loaded.load(&program.hook.target, self.btf()?).map_err(Failed::Loading)?;
        let link = loaded.attach().and_then(|link| loaded.take_link(link)).map_err(Failed::Attaching)?;
        let file = link.into_file().map_err(|error| library_error("open", program, &error))?;
        Ok(Extra::Iterator(file))
    }

    fn socket(&mut self, loaded: &mut SocketFilter, program: &Program) -> Step {
        let refuse = |error| not_attachable(program, format!("no socket gets packets: {error}"));
        let socket = place::packet_socket(&self.place.interface).map_err(refuse)?;
        loaded.load().map_err(Failed::Loading)?;
        loaded.attach(&socket).map_err(Failed::Attaching)?;
        Ok(Extra::Socket(socket))
    }
}

/// Splits `FUNCTION+OFFSET`; the offset is decimal, or hexadecimal after `0x`.
fn with_offset(target: &str) -> (&str, u64) {
    let Some((function, offset)) = target.rsplit_once('+') else { return (target, 0) };
    let number = match offset.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => offset.parse(),
    };
    number.map_or((target, 0), |offset| (function, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_may_have_an_offset() {
        assert_eq!(with_offset("f"), ("f", 0));
        assert_eq!(with_offset("f+8"), ("f", 8));
        assert_eq!(with_offset("f+0x1f"), ("f", 31));
        assert_eq!(with_offset("f+g"), ("f+g", 0));
    }
}
