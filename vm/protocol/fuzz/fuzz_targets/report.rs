//! Reads reports from a stream until it ends or is malformed. Reading must neither panic nor allocate without bound, and each
//! report must survive being sent and received again.

#![no_main]

use hooklab_protocol::{Error, Report, receive, send};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    let mut rest = stream;
    loop {
        let before = rest.len();
        let report: Report = match receive(&mut rest) {
            Ok(report) => report,
            Err(Error::TooLong(_)) => {
                return assert_eq!(
                    before - rest.len(),
                    4,
                    "the content of a frame that is too long is not read"
                );
            }
            Err(_) => return,
        };
        assert!(before - rest.len() > 4);
        let mut again = Vec::new();
        send(&mut again, &report).expect("a report that was received can be sent");
        assert_eq!(
            receive::<Report>(&mut again.as_slice()).expect("a report that was sent can be received"),
            report
        );
    }
});
