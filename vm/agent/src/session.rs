//! The talk with the host: hello, then requests until there are no more.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hooklab_protocol::{
    self as protocol, AfterRestore, EnvValue, Features, PAYLOAD_VARIABLE, Place, ROOT_DIRECTORY, Report,
    Request, Run, SideEffects,
};

use crate::Error;
use crate::collect::Collector;
use crate::features;
use crate::libraries;
use crate::process::Processes;
use crate::room::Room;
use crate::scope::Scope;
use crate::wake;
use crate::watch::Watch;
use crate::window::Window;

/// One connection to the host.
pub(crate) struct Session<R: Read, W: Write> {
    from: BufReader<R>,
    to: W,
    folder: PathBuf,
    scope: Scope,
    processes: Processes,
    collector: Option<Collector>,
    features: Features,
    window: Option<Window>,
    /// A machine as it was before anything ran on it; none for the running kernel, on which others are at work.
    watch: Option<Watch>,
    /// The room that a test finds; none on the running kernel.
    room: Option<Room>,
}

impl<R: Read, W: Write> Session<R, W> {
    /// Payloads will go into `folder`.
    pub(crate) fn new(from: R, to: W, folder: PathBuf, scope: Scope) -> Result<Self, Error> {
        let from = BufReader::with_capacity(256 << 10, from);
        // The trying comes first: the watch takes what it leaves for what was there.
        let (processes, features) = (Processes::new(scope)?, features::find_out());
        let (window, watch) = match scope {
            Scope::Machine => (Window::open(), Some(Watch::begin())),
            Scope::ProcessGroup => (None, None),
        };
        Ok(Self { from, to, folder, scope, processes, collector: None, features, window, watch, room: None })
    }

    /// Says hello and serves until told to power off, or until the host is gone.
    pub(crate) fn serve(&mut self) -> Result<(), Error> {
        self.hello()?;
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
                Request::Restored(wake) => self.wake(&wake),
                Request::Load { bytes, place } => self.take_payload(bytes, place),
                Request::Run(run) => self.run(&run),
            };
            if let Err(error) = served {
                self.report(&Report::Problem { message: error.to_string() })?;
                return Err(error);
            }
        }
    }

    fn hello(&mut self) -> Result<(), Error> {
        let window = self.window.as_ref().map_or(0, Window::bytes);
        let (protocol, release, features) = (protocol::VERSION, release()?, self.features);
        self.report(&Report::Ready { protocol, release, features, shared_memory_bytes: window })
    }

    fn wake(&mut self, wake: &AfterRestore) -> Result<(), Error> {
        // The running kernel was not asleep.
        if let Scope::Machine = self.scope {
            wake::set_right(wake)?;
        }
        if let Some(watch) = &mut self.watch {
            watch.woken();
        }
        self.hello()
    }

    fn run(&mut self, run: &Run) -> Result<(), Error> {
        let new = || run.collect.as_ref().map(|folder| Collector::new(self.folder.join(folder)));
        // Kept from one run to the next: what was sent is sent once.
        let mut collector = self.collector.take().or_else(new);
        for test in &run.tests {
            self.report(&Report::Started { test: test.clone() })?;
            let mut command = self.command(run, test);
            let (to, mut told) = (&mut self.to, false);
            let mut settling = || match std::mem::replace(&mut told, true) {
                false => Ok(protocol::send(to, &Report::Settling)?),
                true => Ok(()),
            };
            let limit = Duration::from_millis(run.timeout_ms);
            let ended = self.processes.run(&mut command, limit, &mut settling)?;
            let mut side_effects = match &mut self.watch {
                Some(watch) if run.check => watch.after(ended.left, &mut settling)?,
                // Others live on the host: only what the test itself started is known to be its own.
                _ if run.check => SideEffects { leaks: ended.left, ..SideEffects::default() },
                _ => SideEffects::default(),
            };
            if let Some(room) = &self.room {
                side_effects.dirty |= !room.make(&mut settling)?;
            }
            let spent = side_effects.dirty;
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
            if spent {
                return Ok(());
            }
        }
        self.collector = collector;
        self.report(&Report::Done)
    }

    fn take_payload(&mut self, bytes: u64, place: Place) -> Result<(), Error> {
        match (place, &self.window) {
            (Place::SharedMemory, Some(window)) => unpack(window.content(bytes), &self.folder)?,
            _ => unpack((&mut self.from).take(bytes), &self.folder)?,
        }
        if let Scope::Machine = self.scope {
            libraries::link_into_root(&self.folder.join(ROOT_DIRECTORY), Path::new("/"))?;
        }
        self.room = matches!(self.scope, Scope::Machine).then(Room::now);
        self.report(&Report::Loaded)
    }

    /// The flags of libtest are those of `rustc --test` binaries (the rustc book, "Tests").
    fn command(&self, run: &Run, test: &str) -> Command {
        let root = self.folder.display().to_string();
        let mut command = Command::new(self.folder.join(&run.binary));
        command.args(["--exact", test, "--nocapture", "--test-threads=1"]).current_dir(&self.folder);
        command.env("PATH", format!("{root}/bin:/usr/bin:/bin"));
        command.env("HOME", "/tmp").env(PAYLOAD_VARIABLE, &root);
        command.envs(run.env.iter().map(|variable| (&variable.name, self.value(&variable.value))));
        command
    }

    fn value(&self, value: &EnvValue) -> OsString {
        match value {
            EnvValue::Text(text) => text.into(),
            EnvValue::InPayload(path) => self.folder.join(path).into(),
        }
    }

    fn report(&mut self, report: &Report) -> Result<(), Error> {
        Ok(protocol::send(&mut self.to, report)?)
    }
}

/// Unpacks a tar archive into `folder`, and reads on to the end of what there is.
fn unpack(from: impl Read, folder: &Path) -> Result<(), Error> {
    let mut archive = tar::Archive::new(from);
    archive.unpack(folder).map_err(Error::system("unpack the payload"))?;
    // The archive's end marker may be followed by padding.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(Error::system("take in the payload"))?;
    Ok(())
}

fn release() -> Result<String, Error> {
    let path = "/proc/sys/kernel/osrelease";
    let release = fs::read_to_string(path).map_err(Error::system(format!("read {path}")))?;
    Ok(release.trim().to_owned())
}
