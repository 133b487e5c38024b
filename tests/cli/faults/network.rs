//! The network, and mirrors that give less than they promise, or something else.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use flate2::read::GzDecoder;

use crate::gate::{Met, needs};
use crate::needs::security_archive;
use crate::support::{ONE, Ran, TestEnv, locked_kernel, locked_size, root};

/// What Debian had signed of the suite experimental on 30 October 2026, to be believed until 6 November 2026: the file
/// `dists/experimental/InRelease` of its archive.
const EXPERIMENTAL: &[u8] = include_bytes!("experimental.InRelease.gz");

/// What a mirror answers.
enum Answer {
    Whole(Vec<u8>),
    /// So many bytes of what was promised; then the mirror is gone.
    Half(Vec<u8>, usize),
    Elsewhere(String),
    Missing,
}

/// Starts a mirror that answers this to the path of a request; its address.
fn mirror(answer: impl Fn(&str) -> Answer + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/debian", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let Some(request) = lines.next() else { continue };
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let answer = answer(request.split(' ').nth(1).unwrap());
            let (head, body) = match &answer {
                Answer::Whole(body) => (format!("200 OK\r\nContent-Length: {}", body.len()), &body[..]),
                Answer::Half(body, length) => (format!("200 OK\r\nContent-Length: {length}"), &body[..]),
                Answer::Elsewhere(url) => {
                    (format!("302 Found\r\nLocation: {url}\r\nContent-Length: 0"), &[][..])
                }
                Answer::Missing => ("404 Not Found\r\nContent-Length: 0".into(), &[][..]),
            };
            let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
            if matches!(answer, Answer::Half(..)) {
                return;
            }
        }
    });
    address
}

/// An environment with a directory for kernels, which has none.
fn environment() -> (TestEnv, PathBuf) {
    let env = TestEnv::with_own_cache(&["accelerator.json"]);
    let kernels = env.directory("cache/kernels");
    (env, kernels)
}

fn fetch_7_0(env: &TestEnv, words: &[&str]) -> Ran {
    env.run(&[&["kernels", "fetch", "7.0"], words].concat())
}

/// Packages that lie about in a half-made kernel, with their sizes.
fn downloads(kernels: &PathBuf) -> Vec<u64> {
    let works = fs::read_dir(kernels).unwrap().flatten().map(|entry| entry.path().join("debs"));
    let files = works.filter_map(|debs| fs::read_dir(debs).ok()).flatten().flatten();
    files.map(|file| file.metadata().unwrap().len()).filter(|size| *size > 1000).collect()
}

#[test]
fn a_mirror_that_goes_away_in_mid_download_is_an_error_and_what_it_left_is_not_believed() {
    let (env, kernels) = environment();
    let size = locked_size("7.0");
    let half = mirror(move |_| Answer::Half(vec![b'x'; size / 2], size));
    let ran = fetch_7_0(&env, &["--mirror", &half]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("error: failed to download linux-binary-7.0"), "{}", ran.stderr);
    assert_eq!(downloads(&kernels), [size as u64 / 2]);
    let ran = fetch_7_0(&env, &[]);
    assert_eq!((ran.code, &ran.stdout[..9]), (Some(0), "7.0      "), "{}", ran.stderr);
}

#[test]
fn a_package_that_is_not_what_the_lock_says_is_neither_unpacked_nor_kept() {
    let (env, kernels) = environment();
    let size = locked_size("7.0");
    let other = mirror(move |_| Answer::Whole(vec![b'x'; size]));
    let ran = fetch_7_0(&env, &["--mirror", &other]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("error: failed to verify linux-binary-7.0"), "{}", ran.stderr);
    assert!(ran.stderr.contains("its SHA-256 is not the expected"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("unpacking"), "{}", ran.stderr);
    assert_eq!(downloads(&kernels), [0; 0]);
}

#[test]
fn a_kernel_that_cannot_be_had_stops_no_other() {
    let (env, kernels) = environment();
    let cached = locked_kernel("6.12");
    symlink(&cached, kernels.join(cached.file_name().unwrap())).unwrap();
    // Nobody is there.
    let words = ["-k", "6.12", "-k", "7.0", "--mirror", "http://127.0.0.1:9/debian", ONE[0], ONE[1]];
    let first = env.vm_test(&[&words[..], &["--fail-fast"]].concat());
    assert_eq!(first.code, Some(3), "{}{}", first.stdout, first.stderr);
    assert!(first.stdout.contains("0 passed, 0 failed"), "{}", first.stdout);
    let ran = env.vm_test(&words);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("2 passed, 0 failed"), "{}", ran.stdout);
    let [good, bad] = &ran.report["kernels"].as_array().unwrap()[..] else { panic!("{}", ran.report) };
    assert_eq!((&good["outcome"], &bad["outcome"]), (&"passed".into(), &"error".into()));
    assert!(bad["error"].as_str().unwrap().contains("failed to download linux-binary-7.0"), "{bad}");
    env.next_run_passes();
}

/// `kernels lock --check 6.12` with a mirror that has, of experimental, only these files, and truly Debian's security
/// updates.
fn check(_: Met, files: Vec<(&'static str, Vec<u8>)>) -> Ran {
    let security = security_archive().unwrap();
    let mirror = mirror(move |path| {
        let of_experimental = path.strip_prefix("/debian/dists/experimental/");
        let file = files.iter().find(|(name, _)| Some(*name) == of_experimental);
        match (file, path.strip_prefix("/debian-security/")) {
            (Some((_, content)), _) => Answer::Whole(content.clone()),
            (_, Some(path)) => Answer::Elsewhere(format!("{security}{path}")),
            _ => Answer::Missing,
        }
    });
    let lock = root().join("vm/kernels.lock");
    let before = fs::read(&lock).unwrap();
    let (env, _) = environment();
    let words = ["kernels", "lock", "--check", "--series", "6.12", "--mirror", &mirror];
    let ran = env.run(&words);
    // By what there is now, 6.12 may be behind.
    assert!(matches!(ran.code, Some(0 | 1)), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("6.12 "), "{}", ran.stdout);
    assert_eq!(fs::read(&lock).unwrap(), before);
    ran
}

/// The fixture, as it came.
fn experimental() -> Vec<u8> {
    let mut content = Vec::new();
    GzDecoder::new(EXPERIMENTAL).read_to_end(&mut content).unwrap();
    content
}

#[test]
fn an_index_of_yesterday_is_left_out() {
    let security = needs!(SecurityArchive);
    let ran = check(security, vec![("InRelease", experimental())]);
    let expired = ran.stderr.lines().find(|line| line.contains("the mirror's index of them has expired"));
    assert!(expired.is_some_and(|line| line.contains("experimental")), "{}", ran.stderr);
    let note = ran.stderr.lines().find(|line| line.contains("`kernels lock --accept-expired` takes"));
    assert!(note.is_some_and(|line| line.contains("experimental")), "{}", ran.stderr);
}

#[test]
fn an_index_whose_signature_does_not_verify_is_left_out() {
    let security = needs!(SecurityArchive);
    let text = String::from_utf8(experimental()).unwrap();
    let changed = text.replacen("Origin: Debian", "Origin: Debiam", 1).into_bytes();
    let ran = check(security, vec![("InRelease", changed)]);
    let left_out = ran.stderr.lines().find(|line| line.contains("the suite experimental is left out: "));
    // As apt up to 2.x and as apt 3 have it.
    let words = ["BADSIG", "signature verification failed"];
    let says_why = left_out.is_some_and(|line| words.iter().any(|words| line.contains(words)));
    assert!(says_why, "{}", ran.stderr);
}

#[test]
fn an_index_without_a_signature_is_left_out() {
    let security = needs!(SecurityArchive);
    let text = String::from_utf8(experimental()).unwrap();
    let (_, signed) = text.split_once("\n\n").unwrap();
    let (signed, _) = signed.split_once("-----BEGIN PGP SIGNATURE-----").unwrap();
    let ran = check(security, vec![("Release", signed.into())]);
    let why = "the suite experimental is left out: The repository";
    assert!(ran.stderr.contains(why) && ran.stderr.contains("is not signed"), "{}", ran.stderr);
}
