//! The messages that host and agent exchange over one byte stream, and how they are framed.
//!
//! A frame is a 32-bit little-endian length, followed by that many bytes of JSON. Raw bytes may follow [`Request::Load`]:
//! the payload, an uncompressed tar archive. The guest is not trusted: neither side reads a frame longer than
//! [`MAX_FRAME`].

use std::io::{self, IoSlice, Read, Write};

pub use hooklab_types::kernel::Features;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Version of the protocol; host and agent must use the same one.
pub const VERSION: u32 = 6;

/// Name of the virtio-serial port that carries the protocol (`/sys/class/virtio-ports/*/name` in the guest).
pub const PORT_NAME: &str = "hooklab";

/// Maximum length of a frame, in bytes; longer ones are an error on either side.
pub const MAX_FRAME: usize = 4 << 20;

/// Maximum length of a test's output, in bytes; the agent cuts out the middle of a longer one.
pub const MAX_OUTPUT: usize = 256 << 10;

/// Maximum length of what the agent sends of a test's output while it runs, in bytes; the rest comes with its end alone.
pub const MAX_STREAMED: usize = 16 << 20;

/// Maximum number of leaks that are reported for a test.
pub const MAX_LEAKS: usize = 32;

/// Maximum length of the kernel warnings that are reported for a test, in bytes.
pub const MAX_KERNEL_WARNING_BYTES: usize = 16 << 10;

/// How long the agent may wait for apparent leaks of a test to disappear, in milliseconds: the kernel frees many objects
/// some time after their last reference is dropped.
pub const SETTLE_MS: u64 = 3000;

/// Modification time of every file in a payload, in seconds since the epoch: newer files were created or changed by tests.
pub const PAYLOAD_MTIME: u64 = 1;

/// Directory of a payload whose files the agent links to the same paths below `/`, unless a file exists there: dynamic
/// linkers and libraries.
pub const ROOT_DIRECTORY: &str = "root";

/// Environment variable with the directory into which the payload was unpacked.
pub const PAYLOAD_VARIABLE: &str = "HOOKLAB_PAYLOAD";

/// Number of random bytes for a restored machine: the kernel's ChaCha20 key size (Linux, `drivers/char/random.c`).
pub const ENTROPY_BYTES: usize = 32;

/// A message from the host to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Apply the after-restore fix-ups, since the machine was restored from a saved state, and report ready again.
    Restored(AfterRestore),
    /// Unpack the payload.
    Load {
        /// Its length in bytes.
        bytes: u64,
        /// Where it is.
        place: Place,
    },
    /// Run tests from the payload, one after the other.
    Run(Run),
    /// Power the machine off.
    PowerOff,
}

/// The place of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the stream, after the request.
    Stream,
    /// At the beginning of the shared memory region: memory of the host that the guest can read.
    SharedMemory,
}

/// The input of the after-restore fix-ups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AfterRestore {
    /// The current time: the restored clock shows when the machine was saved.
    pub time: TimeOfDay,
    /// Random bytes: all machines restored from one state would otherwise generate the same random numbers.
    pub entropy: [u8; ENTROPY_BYTES],
}

/// A point in time, relative to the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOfDay {
    /// Seconds since the epoch.
    pub seconds: i64,
    /// Nanoseconds after that second.
    pub nanoseconds: u32,
}

/// A program, what to run of it, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Path of the program: relative to the payload, or absolute.
    pub program: String,
    /// What to run of it.
    pub cases: Cases,
    /// Time limit for each test, in milliseconds.
    pub timeout_ms: u64,
    /// Environment variables of the tests, in addition to `PATH`, `HOME` and [`PAYLOAD_VARIABLE`].
    pub env: Vec<EnvVar>,
    /// A directory, relative to the payload: the agent sends back the files that tests create or change below it.
    pub collect: Option<String>,
    /// Whether to check for side effects after each test.
    pub check: bool,
    /// Whether to report the output of a test while it runs, too.
    pub stream: bool,
}

/// What to run of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cases {
    /// These tests of a libtest binary, as it lists them, one after the other.
    Libtest(Vec<String>),
    /// The whole program, once, as one test.
    Whole {
        /// The name of that test.
        name: String,
        /// How to start it.
        invocation: Invocation,
    },
}

impl Cases {
    /// The names of the tests.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Libtest(names) => names,
            Self::Whole { name, .. } => std::slice::from_ref(name),
        }
    }
}

/// How to start a program as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its working directory, an absolute path, which the agent creates; without one the payload's directory.
    pub directory: Option<String>,
}

/// An environment variable of the tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: EnvValue,
}

impl EnvVar {
    /// A variable whose value is `text`.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), value: EnvValue::Text(text.into()) }
    }

    /// A variable whose value is the absolute path of a file in the payload.
    pub fn in_payload(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self { name: name.into(), value: EnvValue::InPayload(path.into()) }
    }
}

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnvValue {
    /// The text itself.
    Text(String),
    /// A path relative to the payload; tests see the absolute one.
    InPayload(String),
}

/// A message from the agent to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// The agent is ready, after a boot or a restore.
    Ready {
        /// The agent's [`VERSION`].
        protocol: u32,
        /// What `uname -r` prints.
        release: String,
        /// What the kernel can do.
        features: Features,
        /// Size of the shared memory region, in bytes; zero if the agent cannot map one.
        shared_memory_bytes: u64,
    },
    /// The payload was unpacked.
    Loaded,
    /// A test began.
    Started {
        /// Its name.
        test: String,
    },
    /// What the running test printed since the last such report, if [`Run::stream`] asks for it; of a test's output, at most
    /// [`MAX_STREAMED`] bytes. Not to be trusted.
    Output {
        /// Standard output and standard error, interleaved.
        text: String,
    },
    /// The running test's process has ended, and the agent found apparent leaks. It waits at most [`SETTLE_MS`] for them
    /// to disappear, and removes those that it can, before it sends [`Report::Ended`].
    Settling,
    /// A test ended.
    Ended {
        /// Its name.
        test: String,
        /// How its process ended.
        exit: Exit,
        /// From the start of the process to its end, in microseconds.
        micros: u64,
        /// Its standard output and standard error, interleaved; at most [`MAX_OUTPUT`] bytes.
        output: String,
        /// Its side effects on the kernel.
        side_effects: SideEffects,
    },
    /// A file that a test created or changed.
    File {
        /// Path relative to the collected directory. Not to be trusted.
        path: String,
        /// Its content; the agent sends only files of UTF-8 text.
        content: String,
    },
    /// Every test of the run has ended.
    Done,
    /// A request failed; nothing follows.
    Problem {
        /// What failed, and why.
        message: String,
    },
}

/// The side effects of a test on the kernel; normally none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideEffects {
    /// What the test leaked, one line each; at most [`MAX_LEAKS`].
    pub leaks: Vec<String>,
    /// Warnings, oopses and new taint flags of the kernel during the test; at most [`MAX_KERNEL_WARNING_BYTES`] bytes.
    pub kernel_warnings: String,
    /// The machine needs replacing: the kernel issued warnings, or the agent could not remove all leaks or not free enough
    /// memory. No further test runs on it, and nothing follows [`Report::Ended`].
    pub dirty: bool,
}

/// How a test's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It exited with this status.
    Code(i32),
    /// This signal terminated it.
    Signal(i32),
    /// The agent killed it at its time limit.
    TimedOut,
}

/// An error from reading or writing a frame.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream ended or failed.
    #[error("the connection between host and agent failed")]
    Stream(#[from] io::Error),
    /// The frame is longer than [`MAX_FRAME`].
    #[error("a frame of {0} bytes exceeds the limit of {MAX_FRAME} bytes")]
    TooLong(usize),
    /// The content is not a message of this protocol.
    #[error("a frame does not contain a message of this protocol")]
    Malformed(#[from] serde_json::Error),
}

/// The message of an error, followed by those of its causes.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Writes `message` as one frame.
///
/// # Errors
/// The stream fails, or the message is longer than [`MAX_FRAME`].
pub fn send<T: Serialize>(to: &mut impl Write, message: &T) -> Result<(), Error> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    let prefix = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME).ok_or(Error::TooLong(length))?;
    frame[..4].copy_from_slice(&prefix.to_le_bytes());
    write_all(to, &frame)?;
    to.flush()?;
    Ok(())
}

/// Writes all of `bytes` by `writev(2)`, where the stream is a file: reports that are sent while a program that hooks
/// `write(2)` is attached do not trigger it.
fn write_all(to: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write_vectored(&[IoSlice::new(bytes)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads one frame; waits for all of it.
///
/// # Errors
/// The stream ends or fails, or the frame is longer than [`MAX_FRAME`] or does not contain a `T`.
pub fn receive<T: DeserializeOwned>(from: &mut impl Read) -> Result<T, Error> {
    let mut prefix = [0; 4];
    from.read_exact(&mut prefix)?;
    let length = u32::from_le_bytes(prefix) as usize;
    if length > MAX_FRAME {
        return Err(Error::TooLong(length));
    }
    // Grown as bytes arrive: a length alone must not make the host allocate memory.
    let mut body = Vec::new();
    from.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_received_as_sent() {
        let message = Report::Ended {
            test: "filter::one".into(),
            exit: Exit::Signal(9),
            micros: 1234,
            output: "a\u{0}ü\n".into(),
            side_effects: SideEffects { leaks: vec!["a map".into()], ..SideEffects::default() },
        };
        let mut stream = Vec::new();
        send(&mut stream, &message).unwrap();
        send(&mut stream, &Report::Done).unwrap();
        let mut from = stream.as_slice();
        assert_eq!(receive::<Report>(&mut from).unwrap(), message);
        assert_eq!(receive::<Report>(&mut from).unwrap(), Report::Done);
        assert!(matches!(receive::<Report>(&mut from), Err(Error::Stream(_))));
    }

    #[test]
    fn a_truncated_frame_is_a_stream_error_and_an_excessive_length_is_rejected() {
        let mut truncated: &[u8] = &[200, 0, 0, 0, b'{'];
        assert!(matches!(receive::<Report>(&mut truncated), Err(Error::Stream(_))));
        let mut excessive: &[u8] = &[255, 255, 255, 255, b'{'];
        assert!(matches!(receive::<Report>(&mut excessive), Err(Error::TooLong(_))));
    }

    #[test]
    fn malformed_content_is_distinguished_from_a_stream_error() {
        let mut junk: &[u8] = &[3, 0, 0, 0, b'x', b'y', b'z'];
        assert!(matches!(receive::<Report>(&mut junk), Err(Error::Malformed(_))));
    }

    #[test]
    fn a_cause_is_told_once_after_the_error() {
        let error = receive::<Report>(&mut [3, 0, 0, 0, b'x', b'y', b'z'].as_slice()).unwrap_err();
        let message = "a frame does not contain a message of this protocol";
        assert_eq!(error.to_string(), message);
        assert_eq!(with_causes(&error), format!("{message}: expected value at line 1 column 1"));
    }
}
