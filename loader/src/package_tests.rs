//! Tests of the decoder, on packages made here.

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::*;

/// A zlib stream of these bytes.
fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory does not fail");
    encoder.finish().expect("memory does not fail")
}

/// A package with this stream and these other values, as they stand in JSON.
fn text(stream: &[u8], size: &str, meta: &str) -> Vec<u8> {
    let object = STANDARD.encode(stream);
    format!(r#"{{"bpf_object":"{object}","bpf_object_size":{size},"meta":{meta}}}"#).into_bytes()
}

/// The error that decoding gives, with its causes.
fn refusal(text: &[u8]) -> String {
    format!("{:#}", anyhow::Error::from(Package::decode(text).expect_err("it is malformed")))
}

/// The same for the content of `bpf_object`, whose size is said to be five bytes.
fn refusal_of_stream(stream: &[u8]) -> String {
    refusal(&text(stream, "5", "{}"))
}

#[test]
fn a_sound_package_is_unpacked() {
    let package = Package::decode(&text(&deflate(b"bytes"), "5", r#"{"a":[1]}"#)).expect("it is sound");
    assert_eq!(package.object, b"bytes");
    assert_eq!(package.meta, serde_json::json!({ "a": [1] }));
}

#[test]
fn keys_that_nobody_knows_and_escapes_do_no_harm() {
    let text =
        br#" {"new": {"x": [1]}, "bpf_object": "eJwDAAAAAAE\u003d", "bpf_object_size": 0, "meta": {}} "#;
    assert_eq!(Package::decode(text).expect("it is sound").object, b"");
}

#[test]
fn what_is_no_json_or_not_of_that_shape_is_named() {
    assert_eq!(refusal(b""), "the package is empty");
    assert!(refusal(b"{").contains("EOF while parsing"));
    assert!(refusal(b"[]").contains("is not a package in JSON"));
    assert!(refusal(br#"{"bpf_object_size":0,"meta":{}}"#).contains("missing field `bpf_object`"));
    assert!(refusal(br#"{"bpf_object":"","meta":{}}"#).contains("missing field `bpf_object_size`"));
    assert!(refusal(br#"{"bpf_object":"","bpf_object_size":0}"#).contains("missing field `meta`"));
    assert!(refusal(br#"{"bpf_object":7,"bpf_object_size":0,"meta":{}}"#).contains("expected a string"));
    assert!(refusal(&text(b"", r#""0""#, "{}")).contains("expected u64"));
    assert!(refusal(&text(b"", "-1", "{}")).contains("expected u64"));
    assert!(refusal(&text(b"", "0", "[]")).contains("expected a map"));
    assert!(refusal(br#"{"bpf_object":"","bpf_object":"","meta":{}}"#).contains("duplicate field"));
    let deep = format!("{{\"x\":{}0{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(refusal(&text(b"", "0", &deep)).contains("recursion limit"));
    assert!(refusal(b"{\"\xff\":1}").contains("invalid unicode"));
}

#[test]
fn an_object_must_be_base64_of_one_zlib_stream() {
    let object = |object: &str| format!(r#"{{"bpf_object":"{object}","bpf_object_size":5,"meta":{{}}}}"#);
    assert!(refusal(object("a*").as_bytes()).contains("not base64"));
    assert!(refusal(object("eJwDAAAAAAE").as_bytes()).contains("not base64"), "padding is missing");
    assert!(refusal_of_stream(b"").contains("not a zlib stream"));
    assert!(refusal_of_stream(b"not zlib at all").contains("not a zlib stream"));
    let stream = deflate(b"bytes");
    assert!(refusal_of_stream(&stream[..stream.len() / 2]).contains("has a `bpf_object` that is not a zlib"));
    assert!(refusal_of_stream(&[&stream[..], b"xyz"].concat()).contains("3 bytes after its zlib stream"));
    let mut wrong_sum = stream.clone();
    *wrong_sum.last_mut().expect("it is not empty") ^= 1;
    assert!(refusal_of_stream(&wrong_sum).contains("not a zlib stream"));
}

#[test]
fn an_object_has_exactly_the_size_that_the_package_says() {
    let with_size = |size: &str| refusal(&text(&deflate(b"bytes"), size, "{}"));
    assert_eq!(with_size("6"), "the package says that its object has 6 bytes, and it has 5");
    assert_eq!(with_size("4"), "the package says that its object has 4 bytes, and it inflates to more");
    assert_eq!(with_size("0"), "the package says that its object has 0 bytes, and it inflates to more");
}

#[test]
fn a_stream_is_not_inflated_past_the_limit() {
    let limit = usize::try_from(LARGEST_OBJECT).expect("it fits");
    // Sixteen times more than the limit, in one MiB.
    let bomb = deflate(&vec![0; limit + 1]);
    let says = |size: usize| refusal(&text(&bomb, &size.to_string(), "{}"));
    assert_eq!(
        says(limit + 1),
        "the package says that its object has 67108865 bytes, and 64 MiB is the limit"
    );
    assert!(says(limit).contains("it inflates to more"));
    assert!(says(1000).contains("it inflates to more"));
    let fits = deflate(&vec![0; limit]);
    assert_eq!(Package::decode(&text(&fits, "67108864", "{}")).expect("it fits").object.len(), limit);
}

#[test]
fn a_description_is_not_read_past_the_limit() {
    let meta = format!("{{\"x\":[{}0]}}", "0,".repeat(LARGEST_META / 2));
    assert_eq!(
        refusal(&text(&deflate(b""), "0", &meta)),
        "the package has more than 1024 KiB beside its object"
    );
}

#[test]
fn a_name_or_a_brace_means_a_package() {
    assert!(Package::is_meant(Path::new("package.json"), b""));
    assert!(Package::is_meant(Path::new("x"), b" \n{"));
    assert!(!Package::is_meant(Path::new("minimal.bpf.o"), b"\x7fELF"));
    assert!(!Package::is_meant(Path::new("minimal.bpf.o"), b""));
}
