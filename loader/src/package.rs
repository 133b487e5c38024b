//! Packages: an eBPF object with a description of it, in one file of JSON, as eunomia-bpf's compiler `ecc` makes them.
//!
//! `bpf_object` is the object, compressed by zlib, as base64; `bpf_object_size` its size before that, in bytes;
//! `meta` the description, which only the loader `eunomia` needs. A package may come from anywhere, so everything
//! that it says of its own size is checked before memory is allocated for it.

use std::borrow::Cow;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::bufread::ZlibDecoder;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;

/// The largest object that is unpacked, in bytes.
pub const LARGEST_OBJECT: u64 = 64 << 20;
/// The largest description, together with whatever else stands beside the object, in bytes. As a tree it takes
/// many times the memory of its text.
pub const LARGEST_META: usize = 1 << 20;
/// The largest package that is read, in bytes: such an object, if it could not be compressed, as base64.
pub const LARGEST_PACKAGE: u64 = LARGEST_OBJECT / 3 * 4 + LARGEST_OBJECT / 64 + LARGEST_META as u64;

/// A package, unpacked.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    /// The eBPF object, an ELF file. Nothing in it has been looked at.
    pub object: Vec<u8>,
    /// The description, an object of JSON.
    pub meta: Value,
}

/// What is wrong with a package.
#[derive(Debug, Error)]
pub enum Malformed {
    /// A file without a byte.
    #[error("the package is empty")]
    Empty,
    /// More bytes than any package that is believed.
    #[error("the package is larger than {} MiB", LARGEST_PACKAGE >> 20)]
    TooLarge,
    /// No JSON, or not with the keys and types of a package.
    #[error("the file is not a package in JSON")]
    Json(#[from] serde_json::Error),
    /// More description than is believed.
    #[error("the package has more than {} KiB beside its object", LARGEST_META >> 10)]
    Meta,
    /// The object's text is not base64.
    #[error("the package has a `bpf_object` that is not base64")]
    Base64(#[from] base64::DecodeError),
    /// The object's bytes are not one stream of zlib.
    #[error("the package has a `bpf_object` that is not a zlib stream")]
    Zlib(#[source] std::io::Error),
    /// Something follows the stream.
    #[error("the package has a `bpf_object` with {0} bytes after its zlib stream")]
    Trailing(usize),
    /// The object would be larger than is believed.
    #[error("the package says that its object has {stated} bytes, and {} MiB is the limit", LARGEST_OBJECT >> 20)]
    LargeObject {
        /// `bpf_object_size`.
        stated: u64,
    },
    /// The object inflates to something else than the package says.
    #[error("the package says that its object has {stated} bytes, and {actual}")]
    Size {
        /// `bpf_object_size`.
        stated: u64,
        /// What inflating it gave, in words.
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
    /// Whether a file is meant as a package: its name or its first character says so. An ELF file begins with
    /// neither a brace nor white space.
    pub fn is_meant(name: &std::path::Path, bytes: &[u8]) -> bool {
        name.extension().is_some_and(|extension| extension == "json")
            || bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
    }

    /// Unpacks a package. What it takes in memory is bounded by the limits above, not by what the text says.
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
