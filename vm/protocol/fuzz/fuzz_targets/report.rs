//! Reads reports from a stream until it ends or is none. Nothing may panic, or take memory without end; what is read is
//! what would be sent.

#![no_main]

use hooklab_protocol::{Error, Report, receive, send};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    let mut rest = stream;
    loop {
        let before = rest.len();
        let report: Report = match receive(&mut rest) {
            Ok(report) => report,
            Err(Error::TooLong(_)) => return assert_eq!(before - rest.len(), 4, "nothing of it is read"),
            Err(_) => return,
        };
        assert!(before - rest.len() > 4);
        let mut again = Vec::new();
        send(&mut again, &report).expect("what was short enough to be read is short enough to be sent");
        assert_eq!(receive::<Report>(&mut again.as_slice()).expect("it was sent"), report);
    }
});
