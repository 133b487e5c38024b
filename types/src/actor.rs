//! What a test tells `hooklab-actor`, and what it answers: a line of JSON each.

use serde::{Deserialize, Serialize};

/// Who is to call `write()`, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// The main thread.
    Write(u32),
    /// The main thread, which calls `writev()` instead.
    Writev(u32),
    /// A second thread.
    Thread(u32),
    /// A forked child.
    Fork(u32),
    /// The main thread, once, to a socket that takes nothing until the next command comes, whatever that is. It answers before and
    /// after.
    Block,
    /// Nobody: ends [`Command::Block`].
    Release,
}

/// Who made the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Its PID.
    pub pid: u32,
    /// Its TID.
    pub tid: u32,
}
