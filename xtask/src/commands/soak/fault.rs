//! Faults that a round may meet.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Result;
use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::gauge::machines_of;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// A QEMU is killed.
    KillMachine,
    /// A QEMU is stopped, and stays so.
    StopMachine,
    /// The user interrupts the run.
    Interrupt,
    /// The run is killed.
    Kill,
    /// A byte of a saved machine is another one.
    Damage,
    /// A saved machine is cut short.
    Truncate,
    /// A part of a saved machine is gone.
    Remove,
}

impl Fault {
    /// Half of all rounds have none.
    pub(super) fn draw(random: &mut Rng) -> Self {
        let all = [
            Self::KillMachine,
            Self::StopMachine,
            Self::Interrupt,
            Self::Kill,
            Self::Damage,
            Self::Truncate,
            Self::Remove,
        ];
        if random.bool() { Self::None } else { all[random.usize(..all.len())] }
    }

    /// Whether it comes while the run is under way.
    pub(super) fn comes_later(self) -> bool {
        matches!(self, Self::KillMachine | Self::StopMachine | Self::Interrupt | Self::Kill)
    }

    /// Causes what comes before the run, to one of the saved machines, if there is any.
    pub(super) fn before(self, machines: &Path, random: &mut Rng) -> Result<()> {
        let saved: Vec<_> = fs::read_dir(machines).into_iter().flatten().flatten().collect();
        if saved.is_empty() || !matches!(self, Self::Damage | Self::Truncate | Self::Remove) {
            return Ok(());
        }
        let name = ["memory", "state"][random.usize(..2)];
        let path = saved[random.usize(..saved.len())].path().join(name);
        let Ok(file) = File::options().read(true).write(true).open(&path) else { return Ok(()) };
        let place = random.u64(..file.metadata()?.len().max(1));
        match self {
            Self::Damage => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, place)?;
                file.write_all_at(&[byte[0] ^ (1 << random.u8(..8))], place)?;
            }
            Self::Truncate => file.set_len(place)?,
            _ => fs::remove_file(path)?,
        }
        Ok(())
    }

    /// Causes what comes later, to the run with this PID; false if the time for it has not come.
    pub(super) fn cause(self, run: u32, random: &mut Rng) -> bool {
        let send = |pid, signal| kill(Pid::from_raw(pid), signal).is_ok();
        let run_itself = run.cast_signed();
        match self {
            Self::Interrupt => send(run_itself, Signal::SIGINT),
            Self::Kill => send(run_itself, Signal::SIGKILL),
            Self::KillMachine | Self::StopMachine => {
                let machines = machines_of(run);
                let signal = if self == Self::KillMachine { Signal::SIGKILL } else { Signal::SIGSTOP };
                !machines.is_empty() && send(machines[random.usize(..machines.len())], signal)
            }
            _ => true,
        }
    }
}
