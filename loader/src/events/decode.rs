//! Turning what a program sends into text: as which type, if any.

use std::cell::RefCell;
use std::rc::Rc;

use hooklab_types::loader::Record;
use libbpf_rs::btf::TypeId;

use super::types::{Types, hexadecimal};

/// How the bytes of a record relate to its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A record has as many bytes as its type.
    Exact,
    /// A record and a number of 32 bits before it fill whole words of 64 bits, as perf has them.
    Padded,
}

impl Framing {
    /// The size of a record of a type of that size.
    fn of(self, size: usize) -> usize {
        match self {
            Self::Exact => size,
            Self::Padded => (size + 4).next_multiple_of(8) - 4,
        }
    }
}

/// Decodes the records of one map.
pub(crate) struct Decoder {
    map: String,
    framing: Framing,
    types: Option<Rc<RefCell<Types>>>,
    choice: Choice,
}

/// As what records are decoded.
enum Choice {
    /// As this struct, whatever their size.
    Named(TypeId, String),
    /// As the only struct of the size that all have had so far; which that is, as soon as there was one.
    BySize(Option<(usize, Option<(TypeId, String)>)>),
    /// Not at all: their sizes differ.
    Nothing,
}

impl Decoder {
    /// Decodes records as this struct or, without one, as the only struct of their size.
    pub(crate) fn new(
        map: String,
        framing: Framing,
        types: Option<Rc<RefCell<Types>>>,
        named: Option<(TypeId, String)>,
    ) -> Self {
        let choice = named.map_or(Choice::BySize(None), |(id, name)| Choice::Named(id, name));
        Self { map, framing, types, choice }
    }

    /// Decodes a record.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Record {
        self.choose(bytes.len());
        let chosen = match &self.choice {
            Choice::Named(id, name) | Choice::BySize(Some((_, Some((id, name))))) => {
                Some((*id, name.clone()))
            }
            _ => None,
        };
        let decoded = chosen.and_then(|(id, name)| {
            let text = self.types.as_ref()?.borrow_mut().describe(id, bytes)?;
            let value = text.strip_prefix(&format!("(struct {name})")).unwrap_or(&text).to_owned();
            Some((name, value))
        });
        let (type_name, value) = match decoded {
            Some((name, value)) => (Some(name), value),
            None => (None, hexadecimal(bytes)),
        };
        Record { map: self.map.clone(), type_name, value, bytes: bytes.len() as u64 }
    }

    /// Looks for the struct of that size, or gives up.
    fn choose(&mut self, size: usize) {
        match &self.choice {
            Choice::Named(..) | Choice::Nothing => {}
            Choice::BySize(Some((known, _))) if *known == size => {}
            Choice::BySize(Some(_)) => self.choice = Choice::Nothing,
            Choice::BySize(None) => {
                let found =
                    self.types.as_ref().and_then(|types| only_of(&types.borrow(), self.framing, size));
                self.choice = Choice::BySize(Some((size, found)));
            }
        }
    }
}

/// The only struct whose records have that size.
fn only_of(types: &Types, framing: Framing, size: usize) -> Option<(TypeId, String)> {
    let mut fitting = types.structs().filter(|(.., of)| *of > 0 && framing.of(*of) == size);
    let (id, name, _) = fitting.next()?;
    fitting.next().is_none().then_some((id, name))
}
