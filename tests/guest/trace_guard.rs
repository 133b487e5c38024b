//! That the other tests may believe the trace: lines that the kernel dropped do not go unnoticed.

use std::fs;

use crate::support::{Actor, Run, TRACEFS, Trace};

/// More lines than the smallest buffer takes.
const FLOOD: u32 = 1000;

#[test]
fn lost_lines_are_noticed() {
    let _small = SmallBuffer::set();
    let mut writer = Actor::start();
    let mut trace = Trace::start();
    let attached = Run::new("libbpf", "minimal").filter(writer.pid()).attach();

    writer.write(FLOOD);

    let lost = trace.try_read().expect_err("a buffer of a few pages cannot have held them all");
    assert!(lost.events > 0, "{lost:?}");
    attached.detach();
}

/// Makes the kernel's trace buffer as small as it gets, until it is dropped.
struct SmallBuffer {
    /// The size before, in KiB for each CPU.
    before: String,
}

impl SmallBuffer {
    fn set() -> Self {
        let size = fs::read_to_string(Self::file()).expect("tracefs is mounted");
        // `7 (expanded: 1408)` as long as the kernel has not needed the full size: later it would.
        let mut numbers = size.split(|character: char| !character.is_ascii_digit());
        let before = numbers.rfind(|text| !text.is_empty()).expect("a size").to_owned();
        fs::write(Self::file(), "1").expect("shrink the buffer");
        Self { before }
    }

    fn file() -> String {
        format!("{TRACEFS}/buffer_size_kb")
    }
}

impl Drop for SmallBuffer {
    fn drop(&mut self) {
        fs::write(Self::file(), &self.before).expect("restore the buffer's size");
    }
}
