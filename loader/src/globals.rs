//! Values of global variables, from text: BTF says what type a variable has.

use libbpf_rs::btf::types::{Array, Enum, Enum64, Int, IntEncoding};
use libbpf_rs::btf::{BtfKind, BtfType, HasSize as _};

use crate::events::{Types, resolve};
use crate::{Assignment, Error, Global, Object, Value};

/// How deeply arrays of arrays may be nested.
const DEEPEST: usize = 8;
/// The largest variable that is set, in bytes.
const LARGEST: usize = 1 << 20;

/// An integer's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Integer {
    bytes: usize,
    signed: bool,
}

/// Finds a variable and turns the text into its bytes. Whether anything reads the variable is not looked at.
///
/// # Errors
///
/// [`Error::UnknownGlobal`] if there is no such variable, [`Error::BadValue`] if it cannot have the value.
pub fn value(object: &Object, assignment: &Assignment) -> Result<Value, Error> {
    let Assignment { name, value } = assignment;
    let unknown = || Error::UnknownGlobal {
        path: object.path().to_owned(),
        name: name.clone(),
        known: object.globals(),
    };
    let global = object.global(name)?.filter(|global| is_variable(&global.section)).ok_or_else(unknown)?;
    let bytes = bytes(object, &global, value).map_err(|reason| Error::BadValue {
        name: name.clone(),
        value: value.clone(),
        reason,
    })?;
    Ok(Value { global, bytes })
}

/// Whether a section holds globals, and not maps or the licence.
fn is_variable(section: &str) -> bool {
    [".rodata", ".data", ".bss"].iter().any(|start| section.starts_with(start))
}

fn bytes(object: &Object, global: &Global, text: &str) -> Result<Vec<u8>, String> {
    let size = usize::try_from(global.size)
        .ok()
        .filter(|size| *size <= LARGEST)
        .ok_or("it is too large to be set")?;
    let types = Types::read(object.bytes());
    let parsed = match types.as_ref().and_then(|types| types.variable(&global.name)) {
        Some(of) => of_type(of, text, 0)?,
        None => untyped(size, text)?,
    };
    if parsed.len() != size {
        return Err(format!("the object gives it {size} bytes, and its type {}", parsed.len()));
    }
    Ok(parsed)
}

/// A value of a variable whose type nobody knows: an integer of its size, with or without a sign.
fn untyped(size: usize, text: &str) -> Result<Vec<u8>, String> {
    if !matches!(size, 1 | 2 | 4 | 8) {
        return Err("the object does not describe its type".to_owned());
    }
    let signed = text.trim().starts_with('-');
    integer(Integer { bytes: size, signed }, text)
}

/// A value of a type.
fn of_type(of: BtfType<'_>, text: &str, depth: usize) -> Result<Vec<u8>, String> {
    let refuse = |what: &str| Err(format!("it is {what}, which cannot be set"));
    match of.kind() {
        BtfKind::Int => {
            let int = Int::try_from(of).map_err(|_| "its type is damaged")?;
            let bytes = usize::from(int.bits).div_ceil(8);
            match int.encoding {
                IntEncoding::Bool => boolean(bytes, text),
                encoding => integer(Integer { bytes, signed: matches!(encoding, IntEncoding::Signed) }, text),
            }
        }
        BtfKind::Enum => {
            let of = Enum::try_from(of).map_err(|_| "its type is damaged")?;
            let members = of.iter().map(|member| (member.name, i128::from(member.value)));
            enumerator(Integer { bytes: of.size(), signed: of.is_signed() }, members, text)
        }
        BtfKind::Enum64 => {
            let of = Enum64::try_from(of).map_err(|_| "its type is damaged")?;
            let members = of.iter().map(|member| (member.name, member.value));
            enumerator(Integer { bytes: of.size(), signed: of.is_signed() }, members, text)
        }
        BtfKind::Array => array(Array::try_from(of).map_err(|_| "its type is damaged")?, text, depth),
        BtfKind::Struct => refuse("a struct"),
        BtfKind::Union => refuse("a union"),
        BtfKind::Ptr => refuse("a pointer"),
        BtfKind::Float => refuse("a floating-point number"),
        _ => refuse("of a type without values"),
    }
}

/// `true` or `false`, or 1 or 0.
fn boolean(bytes: usize, text: &str) -> Result<Vec<u8>, String> {
    let value = match text.trim() {
        "true" | "1" => 1,
        "false" | "0" => 0,
        _ => return Err("it is true or false".to_owned()),
    };
    let mut result = vec![0; bytes.min(size_of::<u64>())];
    let low = if cfg!(target_endian = "little") { 0 } else { result.len().saturating_sub(1) };
    result.get_mut(low).map(|byte| *byte = value).ok_or("its type is damaged")?;
    Ok(result)
}

/// An enumerator's name, or its number.
fn enumerator<'a>(
    of: Integer,
    members: impl Iterator<Item = (Option<&'a std::ffi::OsStr>, i128)>,
    text: &str,
) -> Result<Vec<u8>, String> {
    let members: Vec<_> = members.collect();
    let named = members.iter().find(|(name, _)| name.is_some_and(|name| name == text.trim()));
    match named {
        Some((_, value)) => encode(of, *value),
        None if number(text).is_some() => integer(of, text),
        None => {
            let names: Vec<_> = members
                .iter()
                .filter_map(|(name, _)| Some(name.as_ref()?.to_string_lossy()))
                .take(16)
                .collect();
            Err(format!("it is an enumeration: a number, or one of {}", names.join(", ")))
        }
    }
}

/// A number within the range of its type.
fn integer(of: Integer, text: &str) -> Result<Vec<u8>, String> {
    let value = number(text).ok_or("it is a whole number, such as -5 or 0x1f")?;
    encode(of, value)
}

/// Reads a decimal or hexadecimal number; `None` if it is none, or far too large.
fn number(text: &str) -> Option<i128> {
    let text = text.trim();
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    // Rust's parsers take a sign of their own.
    if !digits.starts_with(|digit: char| digit.is_ascii_digit()) {
        return None;
    }
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let value = match hexadecimal {
        Some(digits) if digits.starts_with(|digit: char| digit.is_ascii_hexdigit()) => {
            i128::from_str_radix(digits, 16).ok()?
        }
        Some(_) => return None,
        None => digits.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}

/// The bytes of a number, in the byte order of this machine.
fn encode(of: Integer, value: i128) -> Result<Vec<u8>, String> {
    let Integer { bytes, signed } = of;
    if !matches!(bytes, 1 | 2 | 4 | 8) {
        return Err(format!("it is an integer of {bytes} bytes, which cannot be set"));
    }
    let bits = bytes * 8;
    let (least, most) = match signed {
        true => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
        false => (0, (1i128 << bits) - 1),
    };
    if !(least..=most).contains(&value) {
        return Err(format!("it lies between {least} and {most}"));
    }
    let all = value.to_ne_bytes();
    let part = if cfg!(target_endian = "little") { all.get(..bytes) } else { all.get(all.len() - bytes..) };
    Ok(part.unwrap_or_default().to_vec())
}

/// `{1,2,3}`, or for an array of characters text without quotes; what is left out is zero.
fn array(of: Array<'_>, text: &str, depth: usize) -> Result<Vec<u8>, String> {
    let capacity = of.capacity();
    let element = of.contained_type();
    let element = resolve(element).ok_or("its type is damaged")?;
    if depth > DEEPEST {
        return Err("it is an array of arrays, nested too deeply".to_owned());
    }
    let trimmed = text.trim();
    let Some(list) = trimmed.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return match is_character(element) {
            true => characters(capacity, text),
            false => Err("it is an array, such as {1,2,3}".to_owned()),
        };
    };
    let parts = split(list);
    if parts.len() > capacity {
        return Err(format!("it has {capacity} elements, and these are {}", parts.len()));
    }
    // An empty list still needs the size of an element.
    let size = size_of_type(element, depth).filter(|size| size.saturating_mul(capacity) <= LARGEST);
    let size = size.ok_or("it is an array of what cannot be set")?;
    let mut bytes = Vec::new();
    for part in &parts {
        bytes.extend(of_type(element, part, depth + 1)?);
    }
    bytes.resize(size * capacity, 0);
    Ok(bytes)
}

/// The size in bytes of what arrays may consist of.
fn size_of_type(of: BtfType<'_>, depth: usize) -> Option<usize> {
    match of.kind() {
        BtfKind::Int => Some(usize::from(Int::try_from(of).ok()?.bits).div_ceil(8)),
        BtfKind::Enum => Some(Enum::try_from(of).ok()?.size()),
        BtfKind::Enum64 => Some(Enum64::try_from(of).ok()?.size()),
        BtfKind::Array if depth <= DEEPEST => {
            let of = Array::try_from(of).ok()?;
            size_of_type(resolve(of.contained_type())?, depth + 1)?.checked_mul(of.capacity())
        }
        _ => None,
    }
}

/// Whether it is C's `char`: compilers mark it by its name only.
fn is_character(of: BtfType<'_>) -> bool {
    let named =
        of.name().is_some_and(|name| ["char", "unsigned char", "signed char"].iter().any(|of| name == *of));
    of.kind() == BtfKind::Int && named
}

/// Text and the NULs after it.
fn characters(capacity: usize, text: &str) -> Result<Vec<u8>, String> {
    if text.contains('\0') {
        return Err("text cannot have a NUL in it".to_owned());
    }
    if text.len() >= capacity || capacity > LARGEST {
        let most = capacity.saturating_sub(1);
        return Err(format!("it takes {most} bytes of text, and this has {}", text.len()));
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(capacity, 0);
    Ok(bytes)
}

/// Splits a list at its commas, but not at those within braces.
fn split(list: &str) -> Vec<&str> {
    if list.trim().is_empty() {
        return Vec::new();
    }
    let (mut depth, mut start, mut parts) = (0i32, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth = depth.saturating_add(1),
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTE: Integer = Integer { bytes: 1, signed: false };
    const INT: Integer = Integer { bytes: 4, signed: true };

    #[test]
    fn numbers_are_decimal_or_hexadecimal_and_in_range() {
        assert_eq!(integer(BYTE, "255"), Ok(vec![255]));
        assert_eq!(integer(BYTE, " 0x1f "), Ok(vec![31]));
        assert_eq!(integer(INT, "-2"), Ok((-2i32).to_ne_bytes().to_vec()));
        assert_eq!(integer(INT, "-0x80000000"), Ok(i32::MIN.to_ne_bytes().to_vec()));
        assert_eq!(integer(BYTE, "256"), Err("it lies between 0 and 255".to_owned()));
        assert_eq!(integer(INT, "2147483648").unwrap_err(), "it lies between -2147483648 and 2147483647");
        let long = Integer { bytes: 8, signed: false };
        assert_eq!(integer(long, "18446744073709551615"), Ok(vec![255; 8]));
        for text in ["", "-", "--1", "+1", "0x", "0x-1", "1.5", "1 2", "x", &"9".repeat(60)] {
            assert!(integer(INT, text).is_err(), "{text}");
        }
        assert!(encode(Integer { bytes: 16, signed: true }, 1).is_err());
        assert!(encode(Integer { bytes: 0, signed: true }, 0).is_err());
    }

    #[test]
    fn booleans_have_two_values() {
        assert_eq!(boolean(1, "true"), Ok(vec![1]));
        assert_eq!(boolean(1, "0"), Ok(vec![0]));
        assert!(boolean(1, "2").is_err());
    }

    #[test]
    fn text_leaves_room_for_its_end() {
        assert_eq!(characters(4, "abc"), Ok(b"abc\0".to_vec()));
        assert_eq!(characters(4, ""), Ok(vec![0; 4]));
        assert_eq!(characters(4, "abcd"), Err("it takes 3 bytes of text, and this has 4".to_owned()));
        assert!(characters(0, "").is_err() && characters(4, "a\0").is_err());
    }

    #[test]
    fn lists_are_split_at_their_own_commas() {
        assert_eq!(split("1, {2,3},4"), ["1", " {2,3}", "4"]);
        assert_eq!(split(" "), [""; 0]);
        assert_eq!(split(","), ["", ""]);
    }

    #[test]
    fn texts_at_random_for_every_type() {
        use crate::events::fuzz_tests::{Numbers, sample};
        let alphabet: Vec<char> = "{},0123456789-xafREDtrue ".chars().collect();
        let btf = crate::events::parse(&sample()).expect("it is sound");
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        let mut taken = 0;
        for id in 1..u32::try_from(btf.len()).expect("there are few") {
            for _ in 0..300 {
                let length = numbers.next() % 12;
                let text: String = (0..length).map(|_| alphabet[numbers.next() % alphabet.len()]).collect();
                let of = btf.type_by_id(id.into()).and_then(resolve).expect("libbpf has checked it");
                if let Ok(bytes) = of_type(of, &text, 0) {
                    assert_eq!(Some(bytes.len()), size_of_type(of, 0), "{text}");
                    taken += 1;
                }
            }
        }
        assert!(taken > 0, "no text was taken");
    }
}
