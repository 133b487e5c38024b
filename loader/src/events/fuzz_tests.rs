//! Decoders get pseudo-random types and values, the same on every run; nothing may panic, and texts are bounded.

use std::cell::RefCell;
use std::rc::Rc;

use super::btf_writer::{Member, Writer};
use super::decode::{Decoder, Framing, Known};
use super::types::{Types, parse};
use super::{dwarf, strings};

/// How often the types are changed.
const ROUNDS: usize = 2_000;
/// The longest text of a value, with what stands for the rest.
const LONGEST: usize = (16 << 10) + 8;

/// Pseudo-random numbers (xorshift64, by Marsaglia).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).expect("63 bits fit")
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.next() % most;
        (0..length).map(|_| u8::try_from(self.next() & 0xff).expect("a byte")).collect()
    }
}

fn member(name: &str, of: u32, bit_offset: u32, bits: Option<u8>) -> Member {
    Member { name: name.to_owned(), of, bit_offset, bits }
}

/// Types of all kinds, in two structs of which one has the other.
pub(crate) fn sample() -> Vec<u8> {
    let mut writer = Writer::default();
    let int = writer.integer("int", 4, true, false);
    let character = writer.integer("char", 1, true, false);
    let boolean = writer.integer("_Bool", 1, false, true);
    let pointer = writer.pointer();
    let name = writer.array(character, 8);
    let color = writer.enumeration("color", 4, &[("RED".to_owned(), 1), ("BLUE".to_owned(), -2)]);
    let wide = writer.enumeration("wide", 8, &[("FAR".to_owned(), 1 << 40)]);
    let inner = writer.composite(true, "", 8, &[member("a", int, 0, None), member("p", pointer, 0, None)]);
    let members = [
        member("pid", int, 0, None),
        member("low", int, 32, Some(3)),
        member("high", int, 35, Some(29)),
        member("name", name, 64, None),
        member("color", color, 128, None),
        member("yes", boolean, 160, None),
        member("inner", inner, 192, None),
        member("wide", wide, 256, None),
    ];
    let event = writer.composite(false, "event", 40, &members);
    let pair = writer.array(event, 2);
    writer.composite(false, "both", 80, &[member("of", pair, 0, None)]);
    writer.finish().expect("it is short")
}

fn event() -> Vec<u8> {
    let mut bytes = 7i32.to_le_bytes().to_vec();
    bytes.extend((5u32 | 9 << 3).to_le_bytes());
    bytes.extend(b"ca\"t\0\0\0\0");
    bytes.extend((-2i32).to_le_bytes());
    bytes.extend([1, 0, 0, 0]);
    bytes.extend(3u64.to_le_bytes());
    bytes.extend((1u64 << 40).to_le_bytes());
    bytes
}

fn decoder(btf: &[u8], framing: Framing) -> Decoder {
    let types = parse(btf).and_then(Types::of).map(|types| Rc::new(RefCell::new(types)));
    Decoder::new("map".to_owned(), framing, Known { btf: None, variables: types }, None)
}

#[test]
fn a_record_is_decoded_field_by_field() {
    let record = decoder(&sample(), Framing::Exact).decode(&event());
    assert_eq!(record.type_name.as_deref(), Some("event"));
    assert_eq!(
        record.value,
        "{.pid = (int)7,.low = (int)0x5,.high = (int)0x9,.name = (char[8])\"ca\\\"t\",.color = (enum color)BLUE,\
         .yes = (_Bool)1,.inner = (union){.a = (int)3,.p = (void *)0x3,},.wide = (enum wide)FAR,}"
    );
}

#[test]
fn a_record_of_another_size_is_not_decoded_nor_are_those_after_it() {
    let mut decoder = decoder(&sample(), Framing::Exact);
    assert_eq!(decoder.decode(&event()).type_name.as_deref(), Some("event"));
    let other = decoder.decode(&[1, 0xff]);
    assert_eq!((other.type_name, other.value.as_str(), other.bytes), (None, "01ff", 2));
    assert_eq!(decoder.decode(&event()).type_name, None);
}

#[test]
fn two_structs_of_one_size_are_not_guessed_between() {
    let mut writer = Writer::default();
    let int = writer.integer("int", 4, true, false);
    writer.composite(false, "a", 4, &[member("x", int, 0, None)]);
    writer.composite(false, "b", 4, &[member("y", int, 0, None)]);
    let btf = writer.finish().expect("it is short");
    let record = decoder(&btf, Framing::Exact).decode(&[1, 0, 0, 0]);
    assert_eq!((record.type_name, record.value.as_str()), (None, "01000000"));
}

#[test]
fn without_debugging_information_the_struct_of_a_variable_is_taken() {
    let mut writer = Writer::default();
    let int = writer.integer("int", 4, true, false);
    let own = writer.composite(false, "own", 4, &[member("x", int, 0, None)]);
    writer.composite(false, "kernels", 4, &[member("y", int, 0, None)]);
    writer.variable_pointing_to("unused", own);
    let btf = writer.finish().expect("it is short");
    let types = parse(&btf).and_then(Types::of).map(|types| Rc::new(RefCell::new(types)));
    let known = Known { btf: types, variables: None };
    let record = Decoder::new("map".to_owned(), Framing::Exact, known, None).decode(&[1, 0, 0, 0]);
    assert_eq!((record.type_name.as_deref(), record.value.as_str()), (Some("own"), "{.x = (int)1,}"));
}

#[test]
fn without_debugging_information_a_struct_that_no_variable_names_is_not_guessed() {
    let types = parse(&sample()).and_then(Types::of).map(|types| Rc::new(RefCell::new(types)));
    let known = Known { btf: types, variables: None };
    let record = Decoder::new("map".to_owned(), Framing::Exact, known, None).decode(&event());
    assert_eq!(record.type_name, None);
}

#[test]
fn perf_fills_a_record_up() {
    let mut padded = event();
    padded.extend([0; 4]);
    let record = decoder(&sample(), Framing::Padded).decode(&padded);
    assert_eq!(record.type_name.as_deref(), Some("event"));
    assert_eq!(decoder(&sample(), Framing::Exact).decode(&padded).type_name, None);
}

#[test]
fn long_values_are_cut_off() {
    let mut writer = Writer::default();
    let int = writer.integer("int", 4, true, false);
    let many = writer.array(int, 10_000);
    writer.composite(false, "long", 40_000, &[member("x", many, 0, None)]);
    let btf = writer.finish().expect("it is short");
    let record = decoder(&btf, Framing::Exact).decode(&vec![1; 40_000]);
    assert!(record.type_name.is_some() && record.value.len() <= LONGEST && record.value.ends_with("..."));
    let record = decoder(&btf, Framing::Exact).decode(&vec![1; 39_999]);
    assert!(record.type_name.is_none() && record.value.len() <= LONGEST && record.value.ends_with("..."));
}

#[test]
fn types_and_values_that_are_changed_at_random() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let sample = sample();
    let mut parsed = 0;
    for _ in 0..ROUNDS {
        let mut btf = sample.clone();
        for _ in 0..=numbers.next() % 3 {
            let at = numbers.next() % btf.len();
            btf[at] ^= 1 << (numbers.next() % 8);
        }
        let Some(mut types) = parse(&btf).and_then(Types::of) else { continue };
        parsed += 1;
        let structs: Vec<_> = types.structs().take(8).collect();
        for (id, ..) in structs {
            let bytes = numbers.bytes(128);
            let text = types.describe(id, &bytes).unwrap_or_default();
            assert!(text.len() <= LONGEST && !text.contains(char::is_control));
        }
    }
    assert!(parsed > 0, "no change was accepted, so none reached the decoder");
}

#[test]
fn texts_and_debugging_information_at_random() {
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let alphabet: Vec<char> = "[]'\",a1-\\ä(){}.".chars().collect();
    for _ in 0..ROUNDS {
        let length = numbers.next() % 40;
        let text: String = (0..length).map(|_| alphabet[numbers.next() % alphabet.len()]).collect();
        let _ = strings::quote(&text);
        let _ = dwarf::to_btf(&numbers.bytes(400));
    }
}
