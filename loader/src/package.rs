//! Packages: an eBPF object with a description of it, in one file of JSON, as eunomia-bpf's compiler `ecc` makes them.
//!
//! `bpf_object` is the object, compressed by zlib, as base64; `bpf_object_size` its size before that, in bytes;
//! `meta` the description, which only the loader `eunomia` needs. Packages come from untrusted sources, so what
//! it states about its own size is checked before memory is allocated for it.

use std::borrow::Cow;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::bufread::ZlibDecoder;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;

/// The maximum size of an unpacked object, in bytes.
pub const LARGEST_OBJECT: u64 = 64 << 20;
/// The maximum size of the description and all else beside the object, in bytes. Parsed, it takes many times the
/// memory of its text.
pub const LARGEST_META: usize = 1 << 20;
/// The maximum size of a package, in bytes: the largest object as base64, if it cannot be compressed.
pub const LARGEST_PACKAGE: u64 = LARGEST_OBJECT / 3 * 4 + LARGEST_OBJECT / 64 + LARGEST_META as u64;

/// A package, unpacked.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    /// The eBPF object, an ELF file. It has not been inspected.
    pub object: Vec<u8>,
    /// The description, an object of JSON.
    pub meta: Value,
}

/// What is wrong with a package.
#[derive(Debug, Error)]
pub enum Malformed {
    /// The file is empty.
    #[error("the package is empty")]
    Empty,
    /// It exceeds [`LARGEST_PACKAGE`].
    #[error("the package is larger than {} MiB", LARGEST_PACKAGE >> 20)]
    TooLarge,
    /// It is not JSON, or lacks the keys and types of a package.
    #[error("the file is not a package in JSON")]
    Json(#[from] serde_json::Error),
    /// Its description exceeds [`LARGEST_META`].
    #[error("the package has more than {} KiB beside its object", LARGEST_META >> 10)]
    Meta,
    /// The object is not base64.
    #[error("the package has a `bpf_object` that is not base64")]
    Base64(#[from] base64::DecodeError),
    /// The object is not a zlib stream.
    #[error("the package has a `bpf_object` that is not a zlib stream")]
    Zlib(#[source] std::io::Error),
    /// Bytes follow the stream.
    #[error("the package has a `bpf_object` with {0} bytes after its zlib stream")]
    Trailing(usize),
    /// The stated size exceeds [`LARGEST_OBJECT`].
    #[error("the package says that its object has {stated} bytes, and {} MiB is the limit", LARGEST_OBJECT >> 20)]
    LargeObject {
        /// `bpf_object_size`.
        stated: u64,
    },
    /// The object does not inflate to the stated size.
    #[error("the package says that its object has {stated} bytes, and {actual}")]
    Size {
        /// `bpf_object_size`.
        stated: u64,
        /// The result of inflating it, in words.
        actual: String,
    },
}

/// The file, with borrowed text where that has no escapes in it.
#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    bpf_object: Cow<'a, str>,
    bpf_object_size: u64,
    #[serde(borrow)]
    meta: &'a RawValue,
}

impl Package {
    /// Whether a file is meant as a package: its name ends in `.json`, or it starts with a brace. An ELF file starts
    /// with neither a brace nor white space.
    pub fn is_meant(name: &std::path::Path, bytes: &[u8]) -> bool {
        name.extension().is_some_and(|extension| extension == "json")
            || bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
    }

    /// Unpacks a package. The limits above bound its memory use, not what the package states.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub fn decode(text: &[u8]) -> Result<Self, Malformed> {
        if text.is_empty() {
            return Err(Malformed::Empty);
        }
        if text.len() as u64 > LARGEST_PACKAGE {
            return Err(Malformed::TooLarge);
        }
        let outer: Outer<'_> = serde_json::from_slice(text)?;
        if text.len() - outer.bpf_object.len() > LARGEST_META {
            return Err(Malformed::Meta);
        }
        let meta: serde_json::Map<String, Value> = serde_json::from_str(outer.meta.get())?;
        let object = inflate(&STANDARD.decode(outer.bpf_object.as_bytes())?, outer.bpf_object_size)?;
        Ok(Self { object, meta: Value::Object(meta) })
    }
}

/// Inflates one stream of zlib that must give exactly `stated` bytes.
fn inflate(compressed: &[u8], stated: u64) -> Result<Vec<u8>, Malformed> {
    if stated > LARGEST_OBJECT {
        return Err(Malformed::LargeObject { stated });
    }
    let mut decoder = ZlibDecoder::new(compressed);
    let mut object = Vec::new();
    // One byte more than there may be: enough to see that there are too many, and to reach the checksum if not.
    decoder.by_ref().take(stated + 1).read_to_end(&mut object).map_err(Malformed::Zlib)?;
    match object.len() as u64 {
        actual if actual > stated => Err(Malformed::Size { stated, actual: "it inflates to more".into() }),
        actual if actual < stated => Err(Malformed::Size { stated, actual: format!("it has {actual}") }),
        _ => match decoder.into_inner().len() {
            0 => Ok(object),
            left => Err(Malformed::Trailing(left)),
        },
    }
}

#[cfg(test)]
#[path = "package_tests.rs"]
mod tests;
