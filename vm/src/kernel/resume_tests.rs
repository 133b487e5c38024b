//! Interrupted downloads resume, from a server that does what Debian's mirrors do.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;

use super::*;

const MODIFIED: &str = "Fri, 30 Oct 2026 08:08:01 GMT";

/// Serves one file by HTTP: `Last-Modified`, and `Range` where `If-Range` agrees. Of the first answer only a part is
/// sent, and then no more until the client has gone.
struct Server {
    address: String,
    /// Of each answer so far, the first byte of the file that it began with.
    starts: Arc<Mutex<Vec<usize>>>,
}

impl Server {
    fn start(content: Vec<u8>, first_part: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let starts = Arc::new(Mutex::new(Vec::new()));
        let known = Arc::clone(&starts);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &content, first_part, &known);
            }
        });
        Server { address, starts }
    }
}

fn serve(mut stream: TcpStream, content: &[u8], first_part: usize, starts: &Mutex<Vec<usize>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let head: Vec<String> =
        lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    if head.is_empty() {
        return;
    }
    let field = |name: &str| head.iter().find_map(|line| line.strip_prefix(name));
    let start = field("Range: bytes=").and_then(|range| range.trim_end_matches('-').parse().ok());
    let start: usize = start.filter(|_| field("If-Range: ") == Some(MODIFIED)).unwrap_or(0);
    let (total, end) = (content.len(), content.len() - 1);
    let status = if start > 0 {
        format!("206 Partial\r\nContent-Range: bytes {start}-{end}/{total}")
    } else {
        "200 OK".into()
    };
    let length = total - start;
    let answer =
        format!("HTTP/1.1 {status}\r\nLast-Modified: {MODIFIED}\r\nContent-Length: {length}\r\n\r\n");
    let first = {
        let mut starts = starts.lock().unwrap();
        starts.push(start);
        starts.len() == 1
    };
    let part = if first { &content[..first_part] } else { &content[start..] };
    let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(part));
    // Ends when the client goes.
    let _ = lines.next();
}

#[test]
fn a_download_that_was_cut_short_goes_on_where_it_was() {
    let mut lab = Lab::new();
    // Large, and nothing that a package would compress.
    let noise =
        (0_u32..3 << 18).flat_map(|number| number.wrapping_mul(0x9e37_79b9).rotate_left(15).to_le_bytes());
    let image = image("6.1.9-amd64 x\0").into_iter().chain(noise).collect();
    let package = lab.package("linux-image-6.1.9-amd64", &[("boot/vmlinuz-6.1.9-amd64", image)]);
    lab.pin("6.1", "6.1.9-amd64", vec![package]);
    let content = fs::read(lab.on_mirror("linux-image-6.1.9-amd64")).unwrap();
    let server = Server::start(content.clone(), 2 << 20);
    let spec: Spec = "6.1".parse().unwrap();

    let cancel = Arc::new(AtomicBool::new(false));
    let first = lab.kernels(|options| {
        options.mirror = Some(server.address.clone());
        options.cancel = Arc::clone(&cancel);
    });
    let cut = |event| {
        if matches!(event, Event::Download { received: 0x10_0000.., .. }) {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    assert!(matches!(first.obtain(&spec, &cut), Err(Error::Cancelled)));
    let second = lab.kernels(|options| options.mirror = Some(server.address.clone()));
    second.obtain(&spec, &|_| {}).unwrap();
    let starts = server.starts.lock().unwrap().clone();
    assert!(matches!(starts[..], [0, rest] if rest >= 1 << 20), "{starts:?}");
}
