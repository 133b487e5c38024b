//! A session with the host: reports ready, then serves requests until the last one.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hooklab_protocol::{
    self as protocol, AfterRestore, Cases, EnvValue, Features, PAYLOAD_VARIABLE, Place, ROOT_DIRECTORY,
    Report, Request, Run, SideEffects,
};

use crate::Error;
use crate::collect::Collector;
use crate::features;
use crate::free_memory::FreeMemory;
use crate::libraries;
use crate::process::{Processes, Progress};
use crate::restore;
use crate::scope::Scope;
use crate::shared_memory::SharedMemory;
use crate::system_files;
use crate::watch::Watch;

/// A connection to the host.
pub(crate) struct Session<R: Read, W: Write> {
    from: BufReader<R>,
    to: W,
    directory: PathBuf,
    scope: Scope,
    processes: Processes,
    collector: Option<Collector>,
    features: Features,
    shared_memory: Option<SharedMemory>,
    /// State of the kernel before the first test; none on the running kernel, which other processes change, too.
    watch: Option<Watch>,
    /// Free memory before the first test; none on the running kernel.
    free_memory: Option<FreeMemory>,
}

impl<R: Read, W: Write> Session<R, W> {
    /// Prepares a session that unpacks payloads into `directory`.
    pub(crate) fn new(from: R, to: W, directory: PathBuf, scope: Scope) -> Result<Self, Error> {
        let from = BufReader::with_capacity(256 << 10, from);
        let processes = Processes::new(scope)?;
        // Probed before the watch begins: what the probes change must not count as a side effect of the first test.
        let features = features::probe();
        let (shared_memory, watch) = match scope {
            Scope::Machine => (SharedMemory::open(), Some(Watch::begin())),
            Scope::ProcessGroup => (None, None),
        };
        let (collector, free_memory) = (None, None);
        Ok(Self {
            from,
            to,
            directory,
            scope,
            processes,
            collector,
            features,
            shared_memory,
            watch,
            free_memory,
        })
    }

    /// Reports ready and serves requests until the host asks to power off or closes the connection.
    pub(crate) fn serve(&mut self) -> Result<(), Error> {
        self.report_ready()?;
        loop {
            let request = match protocol::receive(&mut self.from) {
                Ok(request) => request,
                Err(protocol::Error::Stream(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            let served = match request {
                Request::PowerOff => return Ok(()),
                Request::Restored(input) => self.fix_up(&input),
                Request::Load { bytes, place } => self.unpack_payload(bytes, place),
                Request::Run(run) => self.run(&run),
            };
            if let Err(error) = served {
                self.report(&Report::Problem { message: protocol::with_causes(&error) })?;
                return Err(error);
            }
        }
    }

    fn report_ready(&mut self) -> Result<(), Error> {
        let (protocol, release, features) = (protocol::VERSION, release()?, self.features);
        let shared_memory_bytes = self.shared_memory.as_ref().map_or(0, SharedMemory::bytes);
        self.report(&Report::Ready { protocol, release, features, shared_memory_bytes })
    }

    fn fix_up(&mut self, input: &AfterRestore) -> Result<(), Error> {
        // The running kernel was not restored.
        if let Scope::Machine = self.scope {
            restore::fix_up(input)?;
        }
        if let Some(watch) = &mut self.watch {
            watch.restored();
        }
        self.report_ready()
    }

    fn run(&mut self, run: &Run) -> Result<(), Error> {
        let new = || run.collect.as_ref().map(|directory| Collector::new(self.directory.join(directory)));
        // Kept from one run to the next: each version of a file is sent once.
        let mut collector = self.collector.take().or_else(new);
        for test in run.cases.names() {
            self.report(&Report::Started { test: test.clone() })?;
            let mut command = self.command(run, test)?;
            let (to, mut reported) = (&mut self.to, false);
            let mut progress = |progress| match progress {
                Progress::Output(text) => Ok(protocol::send(to, &Report::Output { text })?),
                Progress::Settling if std::mem::replace(&mut reported, true) => Ok(()),
                Progress::Settling => Ok(protocol::send(to, &Report::Settling)?),
            };
            let limit = Duration::from_millis(run.timeout_ms);
            let ended = self.processes.run(&mut command, limit, run.stream, &mut progress)?;
            let mut settling = || progress(Progress::Settling);
            let mut side_effects = match &mut self.watch {
                Some(watch) if run.check => watch.after(ended.leaks, &mut settling)?,
                // On the running kernel only the test's own processes are known to be its side effects.
                _ if run.check => SideEffects { leaks: ended.leaks, ..SideEffects::default() },
                _ => SideEffects::default(),
            };
            if let Some(free_memory) = &self.free_memory {
                side_effects.dirty |= !free_memory.reclaim(&mut settling)?;
            }
            let dirty = side_effects.dirty;
            for file in collector.iter_mut().flat_map(Collector::changed) {
                self.report(&file)?;
            }
            self.report(&Report::Ended {
                test: test.clone(),
                exit: ended.exit,
                micros: u64::try_from(ended.duration.as_micros()).unwrap_or(u64::MAX),
                output: ended.output,
                side_effects,
            })?;
            if dirty {
                return Ok(());
            }
        }
        self.collector = collector;
        self.report(&Report::Done)
    }

    fn unpack_payload(&mut self, bytes: u64, place: Place) -> Result<(), Error> {
        match (place, &self.shared_memory) {
            (Place::SharedMemory, Some(memory)) => unpack(memory.content(bytes), &self.directory)?,
            _ => unpack((&mut self.from).take(bytes), &self.directory)?,
        }
        if let Scope::Machine = self.scope {
            libraries::link_into_root(&self.directory.join(ROOT_DIRECTORY), Path::new("/"))?;
            system_files::add(Path::new("/"))?;
            self.free_memory = Some(FreeMemory::now());
        }
        self.report(&Report::Loaded)
    }

    /// The command that runs one test; makes its working directory. The flags are those of libtest (the rustc book,
    /// "Tests").
    fn command(&self, run: &Run, test: &str) -> Result<Command, Error> {
        let root = self.directory.display().to_string();
        let mut command = Command::new(self.directory.join(&run.program));
        command.current_dir(&self.directory);
        if let Scope::Machine = self.scope {
            // The kernel hands what it does not know of its command line to PID 1 as variables.
            command.env_clear().env("TERM", "linux");
        }
        match &run.cases {
            Cases::Libtest(_) => {
                command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
            }
            Cases::Whole { invocation, .. } => {
                command.args(&invocation.arguments);
                if let Some(directory) = &invocation.directory {
                    let created = fs::create_dir_all(directory);
                    created.map_err(Error::system(format!("create the directory {directory}")))?;
                    command.current_dir(directory);
                }
            }
        }
        command.env("PATH", format!("{root}/bin:/usr/bin:/bin"));
        command.env("HOME", "/tmp").env(PAYLOAD_VARIABLE, &root);
        command.envs(run.env.iter().map(|variable| (&variable.name, self.value(&variable.value))));
        Ok(command)
    }

    fn value(&self, value: &EnvValue) -> OsString {
        match value {
            EnvValue::Text(text) => text.into(),
            EnvValue::InPayload(path) => self.directory.join(path).into(),
        }
    }

    fn report(&mut self, report: &Report) -> Result<(), Error> {
        Ok(protocol::send(&mut self.to, report)?)
    }
}

/// Unpacks a tar archive into `directory`, and reads the stream to its end.
fn unpack(from: impl Read, directory: &Path) -> Result<(), Error> {
    let mut archive = tar::Archive::new(from);
    archive.unpack(directory).map_err(Error::system("unpack the payload"))?;
    // Padding may follow the archive's end marker.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(Error::system("read the payload"))?;
    Ok(())
}

fn release() -> Result<String, Error> {
    let path = "/proc/sys/kernel/osrelease";
    let release = fs::read_to_string(path).map_err(Error::system(format!("read {path}")))?;
    Ok(release.trim().to_owned())
}
