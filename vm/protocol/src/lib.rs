//! The words that host and agent exchange over one byte stream, and how they are framed.
//!
//! A frame is a 32-bit little-endian length and that many bytes of JSON. One request, [`Request::Load`], may be
//! followed by raw bytes: the payload, an uncompressed tar archive. The guest is not trusted: whoever reads a
//! frame names the longest one it will take.

use std::io::{self, Read, Write};

pub use hooklab_types::kernel::Features;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Version of the protocol; host and agent must speak the same.
pub const VERSION: u32 = 4;

/// Name of the virtio-serial port that carries the protocol (`/sys/class/virtio-ports/*/name` in the guest).
pub const PORT_NAME: &str = "hooklab";

/// Longest frame in bytes; longer ones are an error on either side.
pub const MAX_FRAME: usize = 4 << 20;

/// Most bytes of a test's output that travel to the host; from longer output the middle is cut out.
pub const MAX_OUTPUT: usize = 256 << 10;

/// Most things that a test left behind that are named.
pub const MAX_LEFT: usize = 32;

/// Most bytes of what the kernel complained of during a test.
pub const MAX_COMPLAINT: usize = 16 << 10;

/// How long the agent may wait for what a test seems to have left behind to go away, in milliseconds: the kernel
/// frees much of it some time after nobody holds it any more.
pub const SETTLE_MS: u64 = 3000;

/// Modification time, in seconds since the epoch, of every file in a payload: what is younger was made by a test.
pub const PAYLOAD_MTIME: u64 = 1;

/// Directory of a payload whose files are wanted at the same paths below `/`, where there is nothing yet: dynamic
/// linkers and libraries.
pub const ROOT_DIRECTORY: &str = "root";

/// Environment variable that tells a test where the payload was unpacked.
pub const PAYLOAD_VARIABLE: &str = "HOOKLAB_PAYLOAD";

/// Random bytes for a machine that wakes: the size of the kernel's ChaCha20 key (Linux, `drivers/char/random.c`).
pub const ENTROPY_BYTES: usize = 32;

/// What the host asks of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// The machine was asleep, on disk: set right what it must not have inherited, and say hello again.
    Wake(Wake),
    /// Take in the payload.
    Load {
        /// Its length in bytes.
        bytes: u64,
        /// Where it is.
        place: Place,
    },
    /// Run tests from the payload, one after the other.
    Run(Run),
    /// Switch the machine off.
    PowerOff,
}

/// Where a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the stream, after the request.
    Stream,
    /// In the window, from its beginning: memory of the host that the guest can read.
    Window,
}

/// What a machine cannot know that was asleep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    /// The time of day: seconds since the epoch, and nanoseconds on top of them.
    pub time: (i64, i64),
    /// Random bytes, since all machines resumed from one state would otherwise draw the same ones.
    pub entropy: [u8; ENTROPY_BYTES],
}

/// A list of tests and how to run them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The libtest binary, relative to the payload.
    pub binary: String,
    /// Names of the tests, exactly as the binary lists them.
    pub tests: Vec<String>,
    /// Time limit for each test, in milliseconds.
    pub timeout_ms: u64,
    /// Environment of the tests, beside `PATH`, `HOME` and [`PAYLOAD_VARIABLE`]. `{payload}` in a value stands
    /// for the folder of the payload.
    pub env: Vec<(String, String)>,
    /// A folder, relative to the payload: files that tests make or change below it are sent back.
    pub collect: Option<String>,
    /// Whether to compare the kernel after each test with what it was before.
    pub check: bool,
}

/// What the agent tells the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// The agent is up, or awake.
    Hello {
        /// The agent's [`VERSION`].
        protocol: u32,
        /// What `uname -r` prints.
        release: String,
        /// What the kernel can do.
        features: Features,
        /// The longest payload, in bytes, that can be taken from a window; zero if the agent can read none.
        window: u64,
    },
    /// The payload is in.
    Loaded,
    /// A test began.
    Started {
        /// Its name.
        test: String,
    },
    /// The running test's process has ended, and seems to have left something behind: the agent waits for it to go
    /// away, at most [`SETTLE_MS`], and clears away what it can, before it says [`Report::Ended`].
    Settling,
    /// A test ended.
    Ended {
        /// Its name.
        test: String,
        /// How its process ended.
        exit: Exit,
        /// From the start of the process to its end, in microseconds.
        micros: u64,
        /// What it wrote to standard output and standard error, in order; at most [`MAX_OUTPUT`] bytes.
        output: String,
        /// What it did to the kernel.
        aftermath: Aftermath,
    },
    /// A file that a test made or changed.
    File {
        /// Path relative to the collected folder. Not to be trusted.
        path: String,
        /// Its content; other files than UTF-8 text are not sent.
        content: String,
    },
    /// Every test of the run has ended.
    Done,
    /// The agent could not do what it was asked to; nothing follows.
    Problem {
        /// What happened.
        message: String,
    },
}

/// What a test did to the kernel it ran on; nothing, as a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aftermath {
    /// What it left behind, a line for each thing; at most [`MAX_LEFT`].
    pub left: Vec<String>,
    /// What the kernel complained of while it ran: warnings, oopses, new taint flags; at most [`MAX_COMPLAINT`] bytes.
    pub complaint: String,
    /// The kernel could not be made again what it was: no further test runs on it, and after [`Report::Ended`]
    /// nothing follows.
    pub spent: bool,
}

/// How a test's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was killed at its time limit.
    TimedOut,
}

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream ended or failed.
    #[error("the other side is gone: {0}")]
    Stream(#[from] io::Error),
    /// The length is beyond [`MAX_FRAME`].
    #[error("a frame of {0} bytes is longer than the {MAX_FRAME} allowed")]
    TooLong(usize),
    /// The bytes are no message of this protocol.
    #[error("a frame is no message of this protocol: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Writes `message` as one frame.
///
/// # Errors
/// If the stream fails or the message is longer than [`MAX_FRAME`].
pub fn send<T: Serialize>(to: &mut impl Write, message: &T) -> Result<(), Error> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    let prefix = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME).ok_or(Error::TooLong(length))?;
    frame[..4].copy_from_slice(&prefix.to_le_bytes());
    to.write_all(&frame)?;
    to.flush()?;
    Ok(())
}

/// Reads one frame; waits until it is there.
///
/// # Errors
/// If the stream ends or fails, the frame is longer than [`MAX_FRAME`], or it holds something else.
pub fn receive<T: DeserializeOwned>(from: &mut impl Read) -> Result<T, Error> {
    let mut prefix = [0; 4];
    from.read_exact(&mut prefix)?;
    let length = u32::from_le_bytes(prefix) as usize;
    if length > MAX_FRAME {
        return Err(Error::TooLong(length));
    }
    // Grown as bytes arrive, so that a length alone cannot make the host set memory aside.
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
    fn a_message_survives_the_way() {
        let message = Report::Ended {
            test: "filter::one".into(),
            exit: Exit::Signal(9),
            micros: 1234,
            output: "a\u{0}ü\n".into(),
            aftermath: Aftermath { left: vec!["a map".into()], ..Aftermath::default() },
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
    fn a_length_that_nothing_follows_is_an_end_and_an_absurd_one_is_refused() {
        let mut short: &[u8] = &[200, 0, 0, 0, b'{'];
        assert!(matches!(receive::<Report>(&mut short), Err(Error::Stream(_))));
        let mut absurd: &[u8] = &[255, 255, 255, 255, b'{'];
        assert!(matches!(receive::<Report>(&mut absurd), Err(Error::TooLong(_))));
    }

    #[test]
    fn bytes_that_are_no_message_are_told_apart_from_a_lost_stream() {
        let mut junk: &[u8] = &[3, 0, 0, 0, b'x', b'y', b'z'];
        assert!(matches!(receive::<Report>(&mut junk), Err(Error::Malformed(_))));
    }
}
